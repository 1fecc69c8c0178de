// From a connected channel to an encrypted one.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "channels/tls_context.h"
#include "channels/tls_sessions.h"
#include "ferry/channel.h"
#include "ferry/event_loop.h"
#include "ferry/task.h"

namespace ferry {

struct TlsPeer {
  std::string scheme = "tls";  ///< of the transport, for ChannelInfo
  std::string name;            ///< "tls://node7:4446", for errors and ChannelInfo
  std::string server_name;     ///< for a client with certificates: what the server's must be for
  std::uint64_t records_per_key = std::uint64_t{1} << 23;
  TlsRecords records = TlsRecords::ours;  ///< the kernel takes over what is over TCP
  /// For a client with certificates: what its handshake may resume, and where what it gets is kept.
  std::shared_ptr<TlsSessions> sessions{};
};

/// Shakes hands over `inner`, as the side that `context` is for, and gives the encrypted channel.
/// Errc::auth where a side could not prove who it is; the peer is told why, as far as it listens.
/// Where the kernel was asked for and does not take over, ChannelInfo::shortfall says so.
/// A client is done before the server has judged it: that it was refused, its first read says.
/// The caller bounds the time.
Task<std::unique_ptr<Channel>> secure(EventLoop& loop, std::unique_ptr<Channel> inner,
                                      std::shared_ptr<const TlsContext> context, TlsPeer peer);

}  // namespace ferry
