#include "channels/tls_sessions.h"

#include <openssl/ssl.h>

#include <utility>

namespace ferry {

void FreeTlsSession::operator()(ssl_session_st* session) const noexcept {
  SSL_SESSION_free(session);
}

void TlsSessions::keep(const std::string& receiver, TlsSession session) {
  const std::scoped_lock lock(mutex_);
  if (newest_.size() >= k_most && !newest_.contains(receiver)) newest_.clear();
  newest_[receiver] = std::move(session);
}

TlsSession TlsSessions::of(const std::string& receiver) const {
  const std::scoped_lock lock(mutex_);
  const auto found = newest_.find(receiver);
  // A copy: OpenSSL writes to a session that it uses.
  return TlsSession(found == newest_.end() ? nullptr : SSL_SESSION_dup(found->second.get()));
}

int keep_tls_session(SSL* ssl, SSL_SESSION* session) {
  const auto* const keeper = static_cast<const TlsSessionKeeper*>(SSL_get_app_data(ssl));
  if (keeper == nullptr || keeper->sessions == nullptr) return 0;
  keeper->sessions->keep(keeper->receiver, TlsSession(session));
  return 1;  // it is ours now
}

}  // namespace ferry
