// Encrypted channels over TCP, and over what else carries bytes.
#pragma once

#include <memory>
#include <string>

#include "ferry/runtime.h"
#include "ferry/transport.h"

namespace ferry {

/// The transport `tls`: `tls://host:port?key=...`, over the transport `tcp`.
///
/// A listener without a key and without certificates makes a fresh key, which its local() names; a
/// key that was given to it otherwise than in the URI it does not repeat there. Its peers shake
/// hands beside one another, each as a Task with a deadline of its own, and a bounded number of
/// them at a time. accept() fails with Errc::auth for a peer that could not prove who it is, and
/// may be called again; who does not speak TLS at all is sent away without a word about it.
std::unique_ptr<Transport> make_tls_transport(TlsOptions options);

/// The same as the transport `scheme` over another one. Where that puts pages straight into the
/// peer's memory, so does this: they pass no cipher, and ChannelInfo says so.
std::unique_ptr<Transport> make_tls_transport_over(std::unique_ptr<Transport> inner,
                                                   std::string scheme, TlsOptions options);

}  // namespace ferry
