#include "channels/tls_engine.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "channels/kernel_tls.h"
#include "channels/line_failure.h"
#include "channels/tls_words.h"

namespace ferry {
namespace {

// So many bytes are received in one system call. More would leave the processor's cache between the
// call and the cipher.
constexpr std::size_t k_inbox_bytes = 256 * 1024;
// So many are sent: a packet of that size with its header, rather than the packet and then a record
// with what is left of it.
constexpr std::size_t k_gathering_bytes = k_inbox_bytes + 2 * TlsEngine::k_plain_bytes;
// What a peer may make us answer before anything of ours is to be sent.
constexpr std::size_t k_max_answers_bytes = 64 * 1024;

constexpr std::string_view k_exporter_label = "EXPORTER-ferry-channel-binding";

struct FreeSsl {
  void operator()(ssl_st* ssl) const noexcept { SSL_free(ssl); }
};
struct FreeBio {
  void operator()(BIO* bio) const noexcept { BIO_free(bio); }
};
struct FreeMethod {
  void operator()(BIO_METHOD* method) const noexcept { BIO_meth_free(method); }
};

bool is_address(const std::string& name) noexcept {
  in6_addr ignored;
  return ::inet_pton(AF_INET, name.c_str(), &ignored) == 1 ||
         ::inet_pton(AF_INET6, name.c_str(), &ignored) == 1;
}

}  // namespace

struct TlsEngine::Line {
  std::shared_ptr<const TlsContext> context;
  std::unique_ptr<BIO_METHOD, FreeMethod> method;
  std::unique_ptr<ssl_st, FreeSsl> ssl;  // before the method goes
  Options options;
  std::uint64_t records = 0;  // under the key of our direction
  std::uint64_t keys_replaced_by_peer = 0;
  bool is_open = false;       // the handshake is done
  bool keeps_key = false;     // since then: TLS 1.2 cannot replace it
  bool kernel_sends = false;  // since then

  // One record until the handshake is done: strangers get no more.
  std::vector<std::byte> inbox = std::vector<std::byte>(k_most_record_bytes);
  std::size_t inbox_begin = 0;
  std::size_t inbox_end = 0;
  std::vector<std::byte> outbox;
  std::vector<std::byte> record =
      std::vector<std::byte>(TlsEngine::k_plain_bytes);  // small pieces, joined
  std::optional<Error> reading_failure;

  static int read_bio(BIO* bio, char* into, std::size_t room, std::size_t* got);
  static int write_bio(BIO* bio, const char* from, std::size_t bytes, std::size_t* sent);
  static long control_bio(BIO* bio, int command, long number, void* pointer);
  static void message_seen(int sent, int version, int type, const void* bytes, std::size_t length,
                           SSL* ssl, void* self);

  std::unique_ptr<BIO, FreeBio> new_bio();
  Result<void> open();
  Result<void> settle();
  Result<void> expect(const std::string& server_name);
  Error failure(int status) const;
  Error another_version() const;
  Error alert_failure(int alert) const;
  Error verdict_failure() const;
  std::span<const std::byte> next_record(IovecWindow& from);
  Result<void> encrypt_record(std::span<const std::byte> plain);
};

int TlsEngine::Line::read_bio(BIO* bio, char* into, std::size_t room, std::size_t* got) {
  auto& line = *static_cast<Line*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  *got = std::min(room, line.inbox_end - line.inbox_begin);
  if (*got == 0) {
    BIO_set_retry_read(bio);
    return 0;
  }
  std::memcpy(into, line.inbox.data() + line.inbox_begin, *got);
  line.inbox_begin += *got;
  return 1;
}

int TlsEngine::Line::write_bio(BIO* bio, const char* from, std::size_t bytes, std::size_t* sent) {
  auto& line = *static_cast<Line*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  const auto* data = reinterpret_cast<const std::byte*>(from);
  line.outbox.insert(line.outbox.end(), data, data + bytes);
  *sent = bytes;
  return 1;
}

long TlsEngine::Line::control_bio(BIO*, int command, long, void*) {
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

void TlsEngine::Line::message_seen(int sent, int, int type, const void* bytes, std::size_t length,
                                   SSL*, void* self) {
  if (sent != 0 || type != SSL3_RT_HANDSHAKE || length == 0) return;
  if (*static_cast<const unsigned char*>(bytes) != SSL3_MT_KEY_UPDATE) return;
  ++static_cast<Line*>(self)->keys_replaced_by_peer;
}

std::unique_ptr<BIO, FreeBio> TlsEngine::Line::new_bio() {
  std::unique_ptr<BIO, FreeBio> bio(BIO_new(method.get()));
  if (!bio) return bio;
  BIO_set_data(bio.get(), this);
  BIO_set_init(bio.get(), 1);
  return bio;
}

Result<void> TlsEngine::Line::open() {
  const auto failed = [] { return fail(Errc::system, "set TLS up: OpenSSL has no memory"); };
  method.reset(BIO_meth_new(BIO_TYPE_SOURCE_SINK, "ferry"));
  if (!method || BIO_meth_set_read_ex(method.get(), &read_bio) != 1 ||
      BIO_meth_set_write_ex(method.get(), &write_bio) != 1 ||
      BIO_meth_set_ctrl(method.get(), &control_bio) != 1) {
    return failed();
  }
  ssl.reset(SSL_new(context->context_));
  auto incoming = new_bio();
  auto outgoing = new_bio();
  if (options.socket >= 0) outgoing.reset(BIO_new_socket(options.socket, BIO_NOCLOSE));
  if (!ssl || !incoming || !outgoing) return failed();
  SSL_set0_rbio(ssl.get(), incoming.release());
  SSL_set0_wbio(ssl.get(), outgoing.release());
  // OpenSSL offers a key to the kernel as soon as it has one, through a BIO of a socket only: so
  // never that of what is received. (To wait in its read would be to wait with the lock held.)
  if (options.socket >= 0) SSL_set_options(ssl.get(), SSL_OP_ENABLE_KTLS);
  SSL_set_msg_callback(ssl.get(), &message_seen);
  SSL_set_msg_callback_arg(ssl.get(), this);
  SSL_set_app_data(ssl.get(), &options.keeper);
  if (context->side() == TlsSide::server) {
    SSL_set_accept_state(ssl.get());
    return {};
  }
  SSL_set_connect_state(ssl.get());
  if (context->has_key()) return {};
  if (const TlsSessionKeeper& keeper = options.keeper; keeper.sessions) {
    const TlsSession session = keeper.sessions->of(keeper.receiver);
    // What does not fit is a handshake in full.
    if (session) SSL_set_session(ssl.get(), session.get());
  }
  return expect(options.server_name);
}

/// Whom the server's certificate must be for.
Result<void> TlsEngine::Line::expect(const std::string& server_name) {
  if (server_name.empty()) {
    return fail(Errc::usage, "TLS: there is no name to look for in the server's certificate",
                "--tls-hostname NAME");
  }
  const int named = is_address(server_name) ? X509_VERIFY_PARAM_set1_ip_asc(
                                                  SSL_get0_param(ssl.get()), server_name.c_str())
                                            : SSL_set1_host(ssl.get(), server_name.c_str());
  if (named != 1) return fail(Errc::usage, "TLS: '" + server_name + "' is not the name of a host");
  // A server with several certificates chooses by it. It is for names alone.
  if (!is_address(server_name)) SSL_set_tlsext_host_name(ssl.get(), server_name.c_str());
  return {};
}

/// How a call ended that OpenSSL says failed for good.
Error TlsEngine::Line::failure(int status) const {
  const int kind = SSL_get_error(ssl.get(), status);
  if (kind == SSL_ERROR_SYSCALL) return line_failure(errno, "send TLS's handshake");
  if (kind == SSL_ERROR_WANT_READ) {
    return {Errc::protocol, 0, "the peer left a message of TLS's own unfinished", {}};
  }
  const unsigned long code = ERR_peek_error();
  const int reason = ERR_GET_REASON(code);
  ERR_clear_error();
  if (reason > SSL_AD_REASON_OFFSET) return alert_failure(reason - SSL_AD_REASON_OFFSET);
  switch (reason) {
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
      return verdict_failure();
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
      return {Errc::auth, 0, "it has no client certificate", {}};
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_WRONG_SSL_VERSION:
    case SSL_R_UNKNOWN_SSL_VERSION:
      return another_version();
    case SSL_R_BINDER_DOES_NOT_VERIFY:
      return {Errc::auth, 0, "wrong key: the two sides have different ones", {}};
    case SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC:
      return {Errc::integrity, 0, "a TLS record was altered on the way", {}};
    default:
      break;
  }
  const char* const words = ERR_reason_error_string(code);
  return {Errc::protocol, 0, std::string("TLS: ") + (words == nullptr ? "it failed" : words), {}};
}

Error TlsEngine::Line::another_version() const {
  const char* const ours = context->version() == TlsVersion::v1_2 ? "1.2" : "1.3";
  return {Errc::auth, 0, std::string("it does not speak TLS ") + ours + ", and we nothing else",
          "--tls-version must be the same on both sides"};
}

Error TlsEngine::Line::alert_failure(int alert) const {
  const bool wrong_key = alert == SSL_AD_DECRYPT_ERROR || alert == SSL_AD_ILLEGAL_PARAMETER;
  if (context->has_key() && !is_open && wrong_key) {
    return {Errc::auth, 0, "wrong key: the two sides have different ones", {}};
  }
  if (alert == SSL_AD_PROTOCOL_VERSION) return another_version();
  if (const auto complaint = complaint_of(alert)) {
    return {Errc::auth, 0, "it says no: " + *complaint, {}};
  }
  if (alert == SSL_AD_HANDSHAKE_FAILURE && (is_open || !context->has_key())) {
    return {Errc::auth, 0, "it says no",
            "it may not authorize our certificate's subject, or want a key"};
  }
  if (alert == SSL_AD_HANDSHAKE_FAILURE) {
    return {Errc::auth, 0, "it says no", "it may have no key, but certificates"};
  }
  const Errc code = alert == SSL_AD_BAD_RECORD_MAC ? Errc::integrity : Errc::protocol;
  return {code, 0, std::string("it ends TLS: ") + SSL_alert_desc_string_long(alert), {}};
}

Error TlsEngine::Line::verdict_failure() const {
  const long verdict = SSL_get_verify_result(ssl.get());
  return {Errc::auth, 0, words_of_verdict(verdict), remedy_of_verdict(verdict)};
}

/// The plain bytes of the next record: where they lie if they lie together, else joined. A piece of
/// which more than half a record is there begins one of its own: what a packet's header is joined
/// with would be copied once more, and all pages behind it would lie across the lines of the
/// processor's cache, at the other side too.
std::span<const std::byte> TlsEngine::Line::next_record(IovecWindow& from) {
  auto pieces = from.window(TlsEngine::k_plain_bytes);
  assert(!pieces.empty());
  const auto large = std::find_if(pieces.begin() + 1, pieces.end(), [](const iovec& piece) {
    return piece.iov_len > TlsEngine::k_plain_bytes / 2;
  });
  pieces = pieces.first(static_cast<std::size_t>(large - pieces.begin()));
  if (pieces.size() == 1) {
    const auto* data = static_cast<const std::byte*>(pieces[0].iov_base);
    const std::size_t bytes = pieces[0].iov_len;
    from.advance(bytes);
    return {data, bytes};
  }
  std::size_t joined = 0;
  for (const iovec& piece : pieces) {
    if (piece.iov_len == 0) continue;
    std::memcpy(record.data() + joined, piece.iov_base, piece.iov_len);
    joined += piece.iov_len;
  }
  from.advance(joined);
  return std::span(record).first(joined);
}

/// OpenSSL's queue of errors is empty before, and after a success.
Result<void> TlsEngine::Line::encrypt_record(std::span<const std::byte> plain) {
  if (records >= options.records_per_key) {
    if (keeps_key) return std::unexpected(key_used_up());
    if (const int done = SSL_key_update(ssl.get(), SSL_KEY_UPDATE_NOT_REQUESTED); done != 1) {
      return std::unexpected(failure(done));
    }
    records = 0;
  }
  std::size_t taken = 0;
  if (const int done = SSL_write_ex(ssl.get(), plain.data(), plain.size(), &taken); done != 1) {
    return std::unexpected(failure(done));
  }
  assert(taken == plain.size());
  ++records;
  return {};
}

Result<std::unique_ptr<TlsEngine>> TlsEngine::create(std::shared_ptr<const TlsContext> context,
                                                     Options options) {
  auto line = std::make_unique<Line>();
  line->context = std::move(context);
  line->options = std::move(options);
  FERRY_TRY(line->open());
  return std::unique_ptr<TlsEngine>(new TlsEngine(std::move(line)));
}

TlsEngine::TlsEngine(std::unique_ptr<Line> line) : line_(std::move(line)) {}

TlsEngine::~TlsEngine() = default;

/// What is to be done once hands are shaken.
Result<void> TlsEngine::Line::settle() {
  // The one way round the key would be a certificate, and a context with a key believes none.
  if (context->has_key() && SSL_session_reused(ssl.get()) != 1) {
    return fail(Errc::auth, "it did not use the key");
  }
  // Without it two lines can be made to export the same value (RFC 7627), and a channel's proof
  // would be good for another one.
  if (SSL_version(ssl.get()) < TLS1_3_VERSION && SSL_get_extms_support(ssl.get()) != 1) {
    return fail(Errc::auth, "its TLS 1.2 has no extended master secret (RFC 7627)");
  }
  is_open = true;
  keeps_key = SSL_version(ssl.get()) < TLS1_3_VERSION;
  inbox.resize(k_inbox_bytes);
  if (options.socket >= 0) {
    kernel_sends = BIO_get_ktls_send(SSL_get_wbio(ssl.get()));
    // What OpenSSL would say by itself from here on (an alert with its last failure) is not sent
    // where the kernel has the key.
    auto outgoing = new_bio();
    if (!outgoing) return fail(Errc::system, "set TLS up: OpenSSL has no memory");
    SSL_set0_wbio(ssl.get(), outgoing.release());
  }
  if (!kernel_sends) outbox.reserve(k_gathering_bytes + 2 * TlsEngine::k_plain_bytes);
  return {};
}

Result<TlsEngine::Handshake> TlsEngine::shake_hands() {
  ERR_clear_error();
  SSL* const ssl = line_->ssl.get();
  std::optional<WithoutSigpipe> guard;  // OpenSSL's own writes to a socket
  if (line_->options.socket >= 0) guard.emplace();
  const int done = SSL_do_handshake(ssl);
  if (done == 1) {
    FERRY_TRY(line_->settle());
    return Handshake::done;
  }
  const int why = SSL_get_error(ssl, done);
  if (why == SSL_ERROR_WANT_READ) return Handshake::wants_input;
  if (why == SSL_ERROR_WANT_WRITE) return Handshake::wants_output;
  return std::unexpected(line_->failure(done));
}

std::span<std::byte> TlsEngine::room() noexcept {
  Line& line = *line_;
  const std::size_t left = line.inbox_end - line.inbox_begin;
  if (line.inbox_begin > 0) {
    // Less than a record: all others have been decrypted.
    std::memmove(line.inbox.data(), line.inbox.data() + line.inbox_begin, left);
    line.inbox_begin = 0;
    line.inbox_end = left;
  }
  return std::span(line.inbox).subspan(left);
}

void TlsEngine::arrived(std::size_t bytes) noexcept { line_->inbox_end += bytes; }

Result<TlsEngine::Plain> TlsEngine::decrypt(std::span<const iovec> into) {
  Line& line = *line_;
  if (line.reading_failure) return std::unexpected(*line.reading_failure);
  IovecWindow room(into);
  Plain plain;
  ERR_clear_error();
  while (!room.done()) {
    const iovec piece = room.window().front();
    std::size_t got = 0;
    const int done = SSL_read_ex(line.ssl.get(), piece.iov_base, piece.iov_len, &got);
    if (done == 1) {
      if (ERR_peek_error() != 0) ERR_clear_error();  // cheaper than to clear what is empty
      room.advance(got);
      plain.bytes += got;
      continue;
    }
    const int why = SSL_get_error(line.ssl.get(), done);
    if (line.outbox.size() > k_max_answers_bytes) {
      line.reading_failure =
          Error{Errc::protocol, 0, "TLS: the peer asks for more answers than it reads", {}};
    } else if (why == SSL_ERROR_ZERO_RETURN) {
      plain.finished = plain.bytes == 0;  // else the next call finds it again
      return plain;
    } else if (why != SSL_ERROR_WANT_READ) {
      line.reading_failure = line.failure(done);
    }
    // What came before a failure is good, and comes first.
    if (plain.bytes == 0 && line.reading_failure) return std::unexpected(*line.reading_failure);
    break;
  }
  return plain;
}

Result<void> TlsEngine::encrypt(IovecWindow& from) {
  ERR_clear_error();
  while (!from.done() && line_->outbox.size() < k_gathering_bytes) {
    FERRY_TRY(line_->encrypt_record(line_->next_record(from)));
  }
  return {};
}

Result<void> TlsEngine::say_goodbye() {
  ERR_clear_error();
  if (const int done = SSL_shutdown(line_->ssl.get()); done < 0) {
    return std::unexpected(line_->failure(done));
  }
  return {};
}

void TlsEngine::take_outgoing(std::vector<std::byte>& taken) noexcept {
  assert(taken.empty());
  if (line_->kernel_sends) line_->outbox.clear();  // under a key that OpenSSL does not have
  std::swap(line_->outbox, taken);
}

Result<TlsEngine::Exported> TlsEngine::exported() const {
  Exported value;
  if (SSL_export_keying_material(line_->ssl.get(), reinterpret_cast<unsigned char*>(value.data()),
                                 value.size(), k_exporter_label.data(), k_exporter_label.size(),
                                 nullptr, 0, 0) == 1) {
    return value;
  }
  ERR_clear_error();
  return fail(Errc::system, "TLS: no value to bind the channel to");
}

std::string TlsEngine::suite() const {
  const SSL_CIPHER* const cipher = SSL_get_current_cipher(line_->ssl.get());
  return cipher == nullptr ? "" : SSL_CIPHER_standard_name(cipher);
}

bool TlsEngine::kernel_sends() const noexcept { return line_->kernel_sends; }

std::uint64_t TlsEngine::records_per_key() const noexcept { return line_->options.records_per_key; }

bool TlsEngine::keeps_key() const noexcept { return line_->keeps_key; }

bool TlsEngine::worn() const noexcept {
  const std::uint64_t most = records_per_key();
  return line_->keeps_key && line_->records >= most - spare_records(most);
}

bool TlsEngine::resumed() const noexcept {
  return !line_->context->has_key() && SSL_session_reused(line_->ssl.get()) == 1;
}

std::uint64_t TlsEngine::keys_replaced_by_peer() const noexcept {
  return line_->keys_replaced_by_peer;
}

std::array<std::byte, 32> keyed_digest(std::span<const std::byte> secret,
                                       std::span<const std::byte> value, std::uint16_t index) {
  std::vector<unsigned char> message;
  for (const std::byte byte : value) message.push_back(static_cast<unsigned char>(byte));
  message.push_back(static_cast<unsigned char>(index & 0xff));
  message.push_back(static_cast<unsigned char>(index >> 8));
  std::array<std::byte, 32> digest{};
  unsigned length = digest.size();
  [[maybe_unused]] const unsigned char* const made =
      HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()), message.data(),
           message.size(), reinterpret_cast<unsigned char*>(digest.data()), &length);
  assert(made != nullptr && length == digest.size());
  return digest;
}

}  // namespace ferry
