// A failure of the channel within, told of the channel around it.
#pragma once

#include <string>

#include "base/cancel_reason.h"
#include "ferry/result.h"

namespace ferry {

/// The channel within has named its act already, on a peer that it knows as `inner_peer`; people
/// know `act`. After a cancel() that one is the reason.
inline Error retold(Error error, const std::string& inner_peer, const std::string& act,
                    const CancelReason& cancelled) {
  if (auto reason = cancelled.error(act)) return std::move(*reason);
  const std::size_t named = error.context.find(inner_peer);
  if (inner_peer.empty() || named == error.context.npos) {
    error.context = act + ": " + error.context;
  } else {
    error.context = act + error.context.substr(named + inner_peer.size());
  }
  return error;
}

/// The same while it is not yet there: the first URI of the scheme `inner` becomes one of `outer`.
inline std::string with_scheme(std::string text, const std::string& inner,
                               const std::string& outer) {
  const std::size_t at = text.find(inner + "://");
  if (at != text.npos) text.replace(at, inner.size(), outer);
  return text;
}

}  // namespace ferry
