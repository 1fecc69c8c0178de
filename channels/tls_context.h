// Who we are in TLS, and whom we believe.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "channels/tls_key.h"
#include "ferry/result.h"
#include "ferry/runtime.h"

struct ssl_ctx_st;

namespace ferry {

enum class TlsSide { client, server };

/// One side's credentials and rules, loaded and checked; any number of lines may share it, on any
/// threads. TLS 1.3 alone, with TLS_AES_128_GCM_SHA256 and TLS_CHACHA20_POLY1305_SHA256 (in this
/// order where the processor knows AES), no early data; with a key no tickets. Or TLS 1.2 alone,
/// with the same ciphers behind a Diffie-Hellman exchange (ECDHE), and no resumption.
class TlsContext {
 public:
  /// Both sides know `key`, and prove it with a fresh Diffie-Hellman exchange beside it. Without it
  /// nobody gets through: there are no certificates here. TLS 1.3, for OpenSSL has no suite of 1.2
  /// with a key, a Diffie-Hellman exchange and AES-GCM. Errc::system.
  static Result<std::shared_ptr<const TlsContext>> with_key(TlsSide side, const TlsKey& key);

  /// Certificates from `folder`, under QEMU's names (TlsOptions). A server demands one of its
  /// clients, and where `authorized` is not empty, one whose subject matches a pattern in it. A
  /// client without a client-cert.pem has none to show. Errc::usage where a file is missing or not
  /// what it should be.
  static Result<std::shared_ptr<const TlsContext>> with_certificates(
      TlsSide side, const std::filesystem::path& folder, std::vector<std::string> authorized = {},
      TlsVersion version = TlsVersion::v1_3);

  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  TlsSide side() const noexcept { return side_; }
  TlsVersion version() const noexcept { return version_; }
  bool has_key() const noexcept { return has_key_; }
  const TlsKey& key() const noexcept { return key_; }
  const std::vector<std::string>& authorized() const noexcept { return authorized_; }

  /// A digest of the authority, the list of those revoked and the own certificate, as they were
  /// loaded: what a peer was judged by. Empty with a key.
  const std::string& fingerprint() const noexcept { return fingerprint_; }

 private:
  friend class TlsEngine;
  TlsContext(TlsSide side, ssl_ctx_st* context);

  const TlsSide side_;
  ssl_ctx_st* const context_;
  TlsVersion version_ = TlsVersion::v1_3;
  bool has_key_ = false;
  TlsKey key_{};
  std::vector<std::string> authorized_;
  std::string fingerprint_;
};

}  // namespace ferry
