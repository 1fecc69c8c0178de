// How channels come to be.
#pragma once

#include <memory>
#include <optional>
#include <string_view>

#include "ferry/channel.h"
#include "ferry/task.h"
#include "ferry/uri.h"

namespace [[gnu::visibility("default")]] ferry {

class EventLoop;
class Places;

/// How many channels there may be to one peer.
enum class Lines {
  many,  ///< as many as are asked for: control frames and pages have channels of their own
  one,   ///< a single pipe, which control frames and pages share
};

/// Yields finished channels, in order of completion. Where the transport has a handshake of its own
/// (TLS), each peer's is a Task with its own deadline, so that a silent one delays nobody. A
/// failure of Errc::auth is one peer's, that could not prove who it is, and accept() may be called
/// again; any other is the listener's own. Used on the loop's thread only. Destroying a listener
/// stops listening.
///
/// With Lines::one the peer is there already: accept() gives its one channel at once, and is called
/// once.
class Listener {
 public:
  virtual ~Listener() = default;
  virtual Task<std::unique_ptr<Channel>> accept() = 0;
  /// Where it really listens: port 0 resolved. Usable verbatim by a sender on the same host.
  virtual Uri local() const = 0;
  virtual Reach reach() const noexcept { return Reach::this_address; }
  virtual Lines lines() const noexcept { return Lines::many; }
};

/// What the channels of a transport can do where the machine and the peer can, for the table in the
/// README. What one channel can here and now, its ChannelInfo and its Facets say.
struct TransportAbilities {
  bool encrypted = false;      ///< are bytes on the line unreadable to others? Pages that are
                               ///< placed go beside it
  bool zero_copy = false;      ///< Facets::zero_copy
  bool placed_writes = false;  ///< do pages go straight where they belong, with no packet?
  bool fd_passing = false;     ///< Facets::fd_passing
};

/// One way to reach a peer. Stateless between calls; used on the loop's thread only.
class Transport {
 public:
  virtual ~Transport() = default;
  virtual std::string_view scheme() const noexcept = 0;
  /// Of connect(). May it be called again for the same peer?
  virtual Lines lines() const noexcept { return Lines::many; }
  /// Nothing where it only says that this build has none.
  virtual std::optional<TransportAbilities> abilities() const noexcept {
    return TransportAbilities{};
  }
  virtual Task<std::unique_ptr<Channel>> connect(EventLoop& loop, Uri to) = 0;
  virtual Task<std::unique_ptr<Listener>> listen(EventLoop& loop, Uri at) = 0;
  /// Where its other end is no peer but a place that guests are laid down in (place.h), that side
  /// of it: it then has nobody to connect to. Else null.
  virtual Places* places() noexcept { return nullptr; }
};

}  // namespace ferry
