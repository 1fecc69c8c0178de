// Who may run the guest, as two small tables: pure, so that every pair of state and event can be
// tried.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "ferry/guest.h"

namespace ferry {

/// The source, from its first word to its last:
///
///   idle -> connecting -> precopy -> paused -> prepared -> committing -> done
///   any state before committing --failed--> resumed       (the guest stays here)
///   committing --failed--> unknown                        (it may run there: it must not run here)
enum class SourceState : std::uint8_t {
  idle,
  connecting,
  precopy,
  paused,
  prepared,
  committing,
  done,
  resumed,
  unknown
};
enum class SourceEvent : std::uint8_t {
  connect,  ///< the first word goes out
  agreed,   ///< layout and channels are there
  pause,    ///< the guest stands still
  ready,    ///< READY: the destination has all of it, verified and durable
  commit,   ///< COMMIT is about to be sent: the point of no return
  started,  ///< STARTED has come
  failed,
};

/// Nothing where the event cannot happen in that state: a bug of ours.
std::optional<SourceState> next(SourceState state, SourceEvent event) noexcept;
Owner owner_in(SourceState state) noexcept;
std::string_view to_string(SourceState state) noexcept;

/// The destination:
///
///   waiting -> receiving -> ready -> starting -> running
///   any state before starting --failed--> aborted         (the source keeps the guest)
///   starting --failed--> crashed                          (it was ours when it failed)
enum class DestinationState : std::uint8_t {
  waiting,
  receiving,
  ready,
  starting,
  running,
  aborted,
  crashed
};
enum class DestinationEvent : std::uint8_t {
  layout,    ///< a source announced its memory, and there is room
  prepared,  ///< all of it is here, verified and durable; READY goes out
  commit,    ///< COMMIT has been read: the guest is ours
  started,   ///< it runs; STARTED goes out
  failed,
};

std::optional<DestinationState> next(DestinationState state, DestinationEvent event) noexcept;
Owner owner_in(DestinationState state) noexcept;
std::string_view to_string(DestinationState state) noexcept;

}  // namespace ferry
