// The loop and the transports that migrations of one process share.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ferry/event_loop.h"
#include "ferry/io_thread.h"
#include "ferry/place.h"
#include "ferry/transport.h"

namespace [[gnu::visibility("default")]] ferry {

/// The one version of TLS that a side speaks. There is nothing to negotiate, so nobody on the way
/// can talk two sides down to the older one.
enum class TlsVersion {
  v1_3,
  v1_2,  ///< for hosts whose rules ask for it; with certificates only
};

/// Who makes the TLS records of what is sent.
enum class TlsRecords {
  ours,    ///< OpenSSL, in this process
  kernel,  ///< kernel TLS where this machine has it, else OpenSSL and a warning
};

/// How the transport `tls` proves who the peers are: by a key that both know, or by certificates. A
/// key in a URI (?key=...) stands in for `key`.
struct TlsOptions {
  /// A 256-bit key that both sides know: 64 hexadecimal digits, or 43 of base64url. Where there is
  /// none, and no folder either, a listener makes a fresh one and names it in its own URI.
  std::string key;
  /// Certificates under QEMU's names: ca-cert.pem, ca-crl.pem, server-cert.pem, server-key.pem,
  /// client-cert.pem, client-key.pem; or keys.psk. Empty: none.
  std::filesystem::path folder;
  std::string hostname;  ///< whom the server's certificate must name; empty: the URI's host
  /// Which subjects may send: patterns with * and ?, of which one must match the whole subject
  /// ("CN=node7,O=Example"). None: whoever has a certificate of this authority.
  std::vector<std::string> authorized;
  TlsVersion version = TlsVersion::v1_3;
  TlsRecords records = TlsRecords::ours;
  /// Records that a key protects before it is replaced. AES-GCM is good for 2^24.5. With TLS 1.2,
  /// and where the kernel makes the records, no key can be replaced: a page channel is, when seven
  /// eighths have gone, and one that cannot be ends with an error before it sends more.
  std::uint64_t records_per_key = std::uint64_t{1} << 23;
};

/// A line of an HTTP request: "Authorization: Bearer ...".
struct WebsocketHeader {
  std::string name;
  std::string value;
};

/// How the transport `rdma` pins the memory that pages are read from and written to by the device.
struct RdmaOptions {
  /// At most so many bytes of each guest, and at least 1 MiB: what is needed is then pinned as it
  /// is needed. 0: all of it, before the first page, which is the fastest. Buffers for messages
  /// come to it: 1 MiB for each channel, and 2 MiB more for one that sends pages.
  std::uint64_t most_pinned = 0;
};

/// What is chosen for all migrations of one Runtime.
struct RuntimeOptions {
  PollerKind poller = PollerKind::automatic;  ///< what its loop waits with
  /// The program's own, which it drives itself, in the place of a loop in a thread of ours. It
  /// outlives the Runtime, and is driven as long as a migration goes on (so not from the thread
  /// that is in send() or receive()). `poller` is then of no interest.
  EventLoop* loop = nullptr;
  /// MPTCP for `tcp`: a line may use all paths between two hosts at once. Where this host or the
  /// peer has none the line is plain TCP, and the migration warns.
  bool mptcp = false;
  TlsOptions tls{};
  FileOptions file{};
  RdmaOptions rdma{};
  /// What a sender adds to its requests for a WebSocket: for an ingress that wants to know who it
  /// is.
  std::vector<WebsocketHeader> websocket_headers{};
};

/// Has the event loop and owns the transports. Any number of migrations may use one Runtime at
/// the same time; it must outlive them. make_runtime() (ferry/ferry.h) gives one that knows every
/// transport of this build.
class Runtime {
 public:
  /// Errc::unsupported, naming why, where there is no such poller on this machine.
  static Result<std::unique_ptr<Runtime>> create(const RuntimeOptions& options = {});
  ~Runtime();

  /// Adds a transport, or replaces the one with its scheme. Before the first migration.
  void add(std::unique_ptr<Transport> transport);

  /// Errc::usage, naming the schemes that there are, where nothing speaks `scheme`.
  Result<Transport*> transport(std::string_view scheme) const;

  /// All of them, in the order in which they were added.
  std::vector<const Transport*> transports() const;

  EventLoop& loop() noexcept { return loop_; }

 private:
  Runtime(std::unique_ptr<IoThread> thread, EventLoop& loop);
  std::vector<std::unique_ptr<Transport>> transports_;
  std::unique_ptr<IoThread> thread_;  // goes first: its Tasks use the transports; may be null
  EventLoop& loop_;                   // the thread's, or the program's
};

}  // namespace ferry
