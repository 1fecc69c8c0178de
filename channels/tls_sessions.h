// What lets a client's later channels shake hands in short.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <string>

struct ssl_session_st;
struct ssl_st;

namespace ferry {

struct FreeTlsSession {
  void operator()(ssl_session_st* session) const noexcept;
};
using TlsSession = std::unique_ptr<ssl_session_st, FreeTlsSession>;

/// The newest session that each receiver has given, for the later channels to the same one: they
/// prove that they know its secret, and no certificate is shown or checked again. Thread-safe.
/// So a session must be found only by those who would have checked the same.
class TlsSessions {
 public:
  static constexpr std::size_t k_most = 64;  ///< receivers; then it begins anew

  /// `receiver` is what was checked: the address, the name that its certificate had to be for, and
  /// TlsContext::fingerprint(), by which it was judged and who we were.
  void keep(const std::string& receiver, TlsSession session);
  /// A copy of one's own; null where there is none.
  TlsSession of(const std::string& receiver) const;

 private:
  mutable std::mutex mutex_;
  std::map<std::string, TlsSession> newest_;  // guarded by mutex_
};

/// Where one channel's sessions go: the SSL's app data.
struct TlsSessionKeeper {
  std::shared_ptr<TlsSessions> sessions;  ///< null: they are not kept
  std::string receiver;
};
/// OpenSSL's callback: gives a session to the channel's keeper.
int keep_tls_session(ssl_st* ssl, ssl_session_st* session);

}  // namespace ferry
