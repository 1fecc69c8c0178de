// WebSockets over TCP and over TLS.
#pragma once

#include <memory>
#include <vector>

#include "ferry/runtime.h"
#include "ferry/transport.h"

namespace ferry {

/// The transport `ws`: `ws://host:port/path`, over the transport `tcp`. A listener with a path
/// answers 404 at any other; `headers` are added to a sender's requests.
std::unique_ptr<Transport> make_ws_transport(std::vector<WebsocketHeader> headers = {});

/// The transport `wss`: `wss://host:port/path?key=...`, over `tls` (channels/tls.h), which takes
/// the same keys and certificates.
std::unique_ptr<Transport> make_wss_transport(std::unique_ptr<Transport> tls,
                                              std::vector<WebsocketHeader> headers = {});

}  // namespace ferry
