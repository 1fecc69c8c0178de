#include "channels/tls_context.h"

#include <fnmatch.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "base/escape.h"
#include "channels/tls_sessions.h"

namespace ferry {
namespace {

constexpr std::string_view k_key_name = "ferry";  // there is one key: its name tells nothing

/// What a client without AES in its processor asks for a server that has it must not override:
/// both sides are served worst by AES in software.
constexpr const char* k_aes_first = "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256";
constexpr const char* k_chacha_first = "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256";
constexpr const char* k_aes_first_1_2 =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
constexpr const char* k_chacha_first_1_2 =
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256";
constexpr unsigned char k_aes_suite[] = {0x13, 0x01};

bool processor_knows_aes() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  return __builtin_cpu_supports("aes") != 0;
#else
  return true;  // as every server processor of the last years
#endif
}

/// The newest reason in OpenSSL's own queue, which it empties.
std::string openssl_reason() {
  const unsigned long code = ERR_peek_last_error();
  const char* const reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  std::string text = reason == nullptr ? "no reason given" : reason;
  ERR_clear_error();
  return text;
}

const TlsContext& context_of(SSL* ssl) {
  return *static_cast<const TlsContext*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
}

/// The key as OpenSSL wants it: a session that both sides remember. Null where memory is short.
SSL_SESSION* session_of(SSL* ssl, const TlsKey& key) {
  SSL_SESSION* const session = SSL_SESSION_new();
  if (session == nullptr) return nullptr;
  const SSL_CIPHER* const cipher = SSL_CIPHER_find(ssl, k_aes_suite);
  if (cipher != nullptr && SSL_SESSION_set_cipher(session, cipher) == 1 &&
      SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION) == 1 &&
      SSL_SESSION_set1_master_key(session, reinterpret_cast<const unsigned char*>(key.data()),
                                  key.size()) == 1) {
    return session;
  }
  SSL_SESSION_free(session);
  return nullptr;
}

/// The client's offer. The key is for SHA-256, as both suites are; a server that asks for a second
/// Hello names the hash, and it is the same one.
int use_key(SSL* ssl, const EVP_MD*, const unsigned char** name, std::size_t* length,
            SSL_SESSION** session) {
  *session = session_of(ssl, context_of(ssl).key());
  *name = reinterpret_cast<const unsigned char*>(k_key_name.data());
  *length = k_key_name.size();
  return *session == nullptr ? 0 : 1;
}

/// The server's answer to an offered key.
int find_key(SSL* ssl, const unsigned char* name, std::size_t length, SSL_SESSION** session) {
  *session = nullptr;
  if (length != k_key_name.size() || std::memcmp(name, k_key_name.data(), length) != 0) return 1;
  *session = session_of(ssl, context_of(ssl).key());
  return *session == nullptr ? 0 : 1;
}

std::string subject_of(X509* certificate) {
  BIO* const memory = BIO_new(BIO_s_mem());
  if (memory == nullptr) return {};
  X509_NAME_print_ex(memory, X509_get_subject_name(certificate), 0,
                     XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB);
  char* data = nullptr;
  const long length = BIO_get_mem_data(memory, &data);
  std::string subject(data, static_cast<std::size_t>(std::max(length, 0L)));
  BIO_free(memory);
  return subject;
}

/// Asked by OpenSSL for every certificate of a chain; depth 0 is the peer itself.
int judge_certificate(int good, X509_STORE_CTX* chain) {
  if (good != 1 || X509_STORE_CTX_get_error_depth(chain) != 0) return good;
  SSL* const ssl =
      static_cast<SSL*>(X509_STORE_CTX_get_ex_data(chain, SSL_get_ex_data_X509_STORE_CTX_idx()));
  const std::vector<std::string>& patterns = context_of(ssl).authorized();
  if (patterns.empty()) return good;
  const std::string subject = subject_of(X509_STORE_CTX_get_current_cert(chain));
  const bool allowed = std::ranges::any_of(patterns, [&](const std::string& pattern) {
    return ::fnmatch(pattern.c_str(), subject.c_str(), FNM_NOESCAPE) == 0;
  });
  if (!allowed) X509_STORE_CTX_set_error(chain, X509_V_ERR_APPLICATION_VERIFICATION);
  return allowed ? 1 : 0;
}

bool choose_suites(SSL_CTX* context, TlsVersion version) {
  const bool aes = processor_knows_aes();
  return version == TlsVersion::v1_2
             ? SSL_CTX_set_cipher_list(context, aes ? k_aes_first_1_2 : k_chacha_first_1_2) == 1
             : SSL_CTX_set_ciphersuites(context, aes ? k_aes_first : k_chacha_first) == 1;
}

/// Null where OpenSSL itself fails.
SSL_CTX* new_context(TlsSide side, TlsVersion version) {
  ERR_clear_error();
  SSL_CTX* const context =
      SSL_CTX_new(side == TlsSide::client ? TLS_client_method() : TLS_server_method());
  if (context == nullptr) return nullptr;
  SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION |
                                   SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  const int only = version == TlsVersion::v1_2 ? TLS1_2_VERSION : TLS1_3_VERSION;
  if (SSL_CTX_set_min_proto_version(context, only) == 1 &&
      SSL_CTX_set_max_proto_version(context, only) == 1 &&
      SSL_CTX_set_num_tickets(context, 0) == 1 && choose_suites(context, version)) {
    return context;
  }
  SSL_CTX_free(context);
  return nullptr;
}

/// A session's later channels resume its first handshake: no certificate is judged anew. A server
/// does so by the same context only, whose ticket key nobody else has. A client has a context a
/// connection, and keeps its sessions by TlsContext::fingerprint(), so that another authority,
/// another list of those revoked or another identity finds none. A fresh Diffie-Hellman exchange is
/// made all the same.
bool allow_resumption(SSL_CTX* context, TlsSide side) {
  SSL_CTX_clear_options(context, SSL_OP_NO_TICKET);
  if (side == TlsSide::client) {
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, &keep_tls_session);
    return true;
  }
  constexpr unsigned char k_id[] = "ferry";  // a server that judges its clients must have one
  return SSL_CTX_set_session_id_context(context, k_id, sizeof k_id - 1) == 1 &&
         SSL_CTX_set_num_tickets(context, 1) == 1;
}

/// Loads the files of one folder.
class Loader {
 public:
  Loader(SSL_CTX* context, const std::filesystem::path& folder)
      : context_(context), folder_(folder) {}

  Result<void> authority() const {
    const std::filesystem::path path = folder_ / "ca-cert.pem";
    if (SSL_CTX_load_verify_file(context_, path.c_str()) != 1) return unusable(path);
    if (STACK_OF(X509_NAME)* const names = SSL_load_client_CA_file(path.c_str())) {
      SSL_CTX_set_client_CA_list(context_, names);
    }
    return revocations();
  }

  Result<void> identity(const std::string& whose) const {
    const std::filesystem::path certificate = folder_ / (whose + "-cert.pem");
    if (SSL_CTX_use_certificate_chain_file(context_, certificate.c_str()) != 1) {
      return unusable(certificate);
    }
    const std::filesystem::path key = folder_ / (whose + "-key.pem");
    if (SSL_CTX_use_PrivateKey_file(context_, key.c_str(), SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(context_) != 1) {
      return unusable(key);
    }
    return {};
  }

  bool has(const char* name) const {
    std::error_code none;
    return std::filesystem::exists(folder_ / name, none);
  }

 private:
  Result<void> revocations() const {
    if (!has("ca-crl.pem")) return {};
    const std::filesystem::path path = folder_ / "ca-crl.pem";
    X509_STORE* const store = SSL_CTX_get_cert_store(context_);
    X509_LOOKUP* const files = X509_STORE_add_lookup(store, X509_LOOKUP_file());
    if (files == nullptr || X509_load_crl_file(files, path.c_str(), X509_FILETYPE_PEM) < 1 ||
        X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK) != 1) {
      return unusable(path);
    }
    return {};
  }

  static std::unexpected<Error> unusable(const std::filesystem::path& path) {
    const std::string why = openssl_reason();
    return fail(Errc::usage, "load " + in_quotes(path.native()) + ": " + why,
                "--tls-dir names a folder with QEMU's file names; the man page lists them");
  }

  SSL_CTX* const context_;
  const std::filesystem::path folder_;
};

Result<void> load(SSL_CTX* context, TlsSide side, const std::filesystem::path& folder) {
  const Loader loader(context, folder);
  FERRY_TRY(loader.authority());
  if (side == TlsSide::server) return loader.identity("server");
  if (loader.has("client-cert.pem")) return loader.identity("client");
  return {};
}

/// SHA-256 over what was loaded, and not over the files: they may have been replaced since.
class Fingerprint {
 public:
  Fingerprint() : digest_(EVP_MD_CTX_new()) {
    good_ = digest_ != nullptr && EVP_DigestInit_ex(digest_, EVP_sha256(), nullptr) == 1;
  }
  ~Fingerprint() { EVP_MD_CTX_free(digest_); }
  Fingerprint(const Fingerprint&) = delete;
  Fingerprint& operator=(const Fingerprint&) = delete;

  void add(char kind, const X509* certificate) {
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    good_ = good_ && X509_digest(certificate, EVP_sha256(), bytes, &length) == 1;
    add(kind, {bytes, length});
  }
  void add(char kind, const X509_CRL* revoked) {
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    good_ = good_ && X509_CRL_digest(revoked, EVP_sha256(), bytes, &length) == 1;
    add(kind, {bytes, length});
  }
  /// In hexadecimal digits; nothing where OpenSSL itself has failed.
  std::optional<std::string> text() {
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    if (!good_ || EVP_DigestFinal_ex(digest_, bytes, &length) != 1) return std::nullopt;
    constexpr std::string_view k_digits = "0123456789abcdef";
    std::string text;
    for (const unsigned char byte : std::span(bytes, length)) {
      text += {k_digits[byte >> 4], k_digits[byte & 15]};
    }
    return text;
  }

 private:
  void add(char kind, std::span<const unsigned char> one) {
    good_ = good_ && EVP_DigestUpdate(digest_, &kind, 1) == 1 &&
            EVP_DigestUpdate(digest_, one.data(), one.size()) == 1;
  }

  EVP_MD_CTX* const digest_;
  bool good_ = false;
};

/// Whom `context` believes, whom it does not any more, and who it is.
std::optional<std::string> fingerprint_of(SSL_CTX* context) {
  Fingerprint fingerprint;
  STACK_OF(X509_OBJECT)* const objects = X509_STORE_get0_objects(SSL_CTX_get_cert_store(context));
  for (int at = 0; at < sk_X509_OBJECT_num(objects); ++at) {
    const X509_OBJECT* const object = sk_X509_OBJECT_value(objects, at);
    if (const X509* authority = X509_OBJECT_get0_X509(object)) fingerprint.add('a', authority);
    if (const X509_CRL* revoked = X509_OBJECT_get0_X509_CRL(object)) fingerprint.add('r', revoked);
  }
  if (const X509* own = SSL_CTX_get0_certificate(context)) fingerprint.add('i', own);
  return fingerprint.text();
}

std::unexpected<Error> no_context() {
  return fail(Errc::system, "set TLS up: " + openssl_reason());
}

}  // namespace

TlsContext::TlsContext(TlsSide side, ssl_ctx_st* context) : side_(side), context_(context) {
  SSL_CTX_set_app_data(context_, this);
}

TlsContext::~TlsContext() {
  SSL_CTX_free(context_);
  OPENSSL_cleanse(key_.data(), key_.size());
}

Result<std::shared_ptr<const TlsContext>> TlsContext::with_key(TlsSide side, const TlsKey& key) {
  SSL_CTX* const context = new_context(side, TlsVersion::v1_3);
  if (context == nullptr) return no_context();
  const std::shared_ptr<TlsContext> made(new TlsContext(side, context));
  made->has_key_ = true;
  made->key_ = key;
  // A server that answered with a certificate instead would find that no authority is believed.
  // (A server has no certificate to go round the key with.)
  if (side == TlsSide::client) SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_psk_use_session_callback(context, &use_key);
  SSL_CTX_set_psk_find_session_callback(context, &find_key);
  return made;
}

Result<std::shared_ptr<const TlsContext>> TlsContext::with_certificates(
    TlsSide side, const std::filesystem::path& folder, std::vector<std::string> authorized,
    TlsVersion version) {
  SSL_CTX* const context = new_context(side, version);
  if (context == nullptr) return no_context();
  const std::shared_ptr<TlsContext> made(new TlsContext(side, context));
  made->version_ = version;
  made->authorized_ = std::move(authorized);
  // A resumed handshake of TLS 1.2 makes no Diffie-Hellman exchange: there each is in full.
  if (version == TlsVersion::v1_3 && !allow_resumption(context, side)) return no_context();
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                     &judge_certificate);
  FERRY_TRY(load(context, side, folder));
  std::optional<std::string> fingerprint = fingerprint_of(context);
  if (!fingerprint) return no_context();
  made->fingerprint_ = std::move(*fingerprint);
  return made;
}

}  // namespace ferry
