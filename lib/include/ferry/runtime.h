// The loop and the transports that migrations of one process share.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "ferry/event_loop.h"
#include "ferry/transport.h"

namespace ferry {

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
  /// Records that a key protects before it is replaced. AES-GCM is good for 2^24.5.
  std::uint64_t records_per_key = std::uint64_t{1} << 23;
};

/// What the transports of a Runtime are to know.
struct RuntimeOptions {
  TlsOptions tls;
};

/// Owns the event loop's thread and the transports. Any number of migrations may use one Runtime at
/// the same time; it must outlive them. make_runtime() (ferry/ferry.h) gives one that knows every
/// transport of this build.
class Runtime {
 public:
  static Result<std::unique_ptr<Runtime>> create();
  ~Runtime();

  /// Adds a transport, or replaces the one with its scheme. Before the first migration.
  void add(std::unique_ptr<Transport> transport);

  /// Errc::usage, naming the schemes that there are, where nothing speaks `scheme`.
  Result<Transport*> transport(std::string_view scheme) const;

  EventLoop& loop() noexcept { return *loop_; }

 private:
  explicit Runtime(std::unique_ptr<EventLoop> loop);
  std::vector<std::unique_ptr<Transport>> transports_;
  std::unique_ptr<EventLoop> loop_;
  std::thread thread_;
};

}  // namespace ferry
