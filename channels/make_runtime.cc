// The one place that names every transport of this build.
#include <utility>

#include "channels/exec.h"
#include "channels/file.h"
#include "channels/inherited_fd.h"
#include "channels/stdio.h"
#include "channels/tcp.h"
#include "channels/unix.h"
#include "channels/vsock.h"
#include "ferry/ferry.h"
#include "rdma/rdma_transport.h"
#if FERRY_HAS_TLS
#include "channels/tls.h"
#endif
#if FERRY_HAS_WEBSOCKET
#include "channels/websocket.h"
#endif

namespace ferry {

Result<std::unique_ptr<Runtime>> make_runtime(const RuntimeOptions& options) {
  auto runtime = FERRY_TRY(Runtime::create(options));
  TcpOptions tcp;
  if (options.mptcp) tcp.kind = TcpKind::multipath;
  runtime->add(make_tcp_transport(std::move(tcp)));
  runtime->add(make_unix_transport());
  runtime->add(make_vsock_transport());
  runtime->add(make_exec_transport());
  runtime->add(make_stdio_transport());
  runtime->add(make_fd_transport());
  runtime->add(make_file_transport(options.file));
  runtime->add(make_rdma_transport(options.rdma));
#if FERRY_HAS_TLS
  runtime->add(make_tls_transport_over(make_rdma_transport(options.rdma), "rdma+tls", options.tls));
  runtime->add(make_tls_transport(options.tls));
#endif
#if FERRY_HAS_WEBSOCKET
  runtime->add(make_ws_transport(options.websocket_headers));
#endif
#if FERRY_HAS_WEBSOCKET && FERRY_HAS_TLS
  runtime->add(make_wss_transport(make_tls_transport(options.tls), options.websocket_headers));
#endif
  return runtime;
}

}  // namespace ferry
