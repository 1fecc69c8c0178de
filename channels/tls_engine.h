// TLS as pure computation: plain bytes and encrypted bytes, and no I/O but of a handshake whose
// keys the kernel is to get.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/iovec_window.h"
#include "channels/tls_context.h"
#include "channels/tls_sessions.h"
#include "ferry/result.h"

namespace ferry {

/// One line's TLS. What comes from the peer is put in by room() and arrived(), what is for the peer
/// is taken out by take_outgoing(); nothing here blocks. One thread at a time, but for the bytes of
/// room(): those may be filled while another thread is in any other call.
class TlsEngine {
 public:
  struct Options {
    /// For a client with certificates: a host's name or address, that the server's certificate must
    /// be for.
    std::string server_name;
    std::uint64_t records_per_key = 0;
    /// For such a client too: where the sessions are that it may resume.
    TlsSessionKeeper keeper;
    /// A TCP socket that the kernel is to encrypt for, where it can; -1: none. It is borrowed, and
    /// does not block until the handshake is done: until then what is outgoing goes to it by
    /// itself.
    int socket = -1;
  };
  /// Errc::system, Errc::usage.
  static Result<std::unique_ptr<TlsEngine>> create(std::shared_ptr<const TlsContext> context,
                                                   Options options);
  ~TlsEngine();
  TlsEngine(const TlsEngine&) = delete;
  TlsEngine& operator=(const TlsEngine&) = delete;

  /// A record on the line: its header, and what RFC 8446 (5.2) allows behind it. Until the
  /// handshake is done there is room() for just one.
  /// Of a record: what it holds before it is encrypted, at most (RFC 8446, 5.1).
  static constexpr std::size_t k_plain_bytes = 16 * 1024;
  static constexpr std::size_t k_record_header_bytes = 5;
  static constexpr std::size_t k_most_record_bytes = k_record_header_bytes + k_plain_bytes + 256;

  enum class Handshake { wants_input, wants_output, done };
  /// Goes on with the handshake. What is outgoing afterwards is to be sent, also after a failure:
  /// it tells the peer why. Errc::auth where a side could not prove who it is, Errc::protocol where
  /// the peer does not speak TLS.
  Result<Handshake> shake_hands();

  /// Where the next encrypted bytes of the peer are to be read to; never empty once everything
  /// that was there has been decrypted.
  std::span<std::byte> room() noexcept;
  /// So many bytes have been put there.
  void arrived(std::size_t bytes) noexcept;

  struct Plain {
    std::size_t bytes = 0;
    bool finished = false;  // the peer said goodbye
  };
  /// As much as has arrived and fits. Neither bytes nor the end: more must arrive. Errc::integrity
  /// where a record was altered on the way; Errc::auth where the peer says that it does not accept
  /// who we are: a server may find out after our side of the handshake is done.
  Result<Plain> decrypt(std::span<const iovec> into);

  /// Encrypts what is next of `from` and advances it, until nothing is left or a gathering of
  /// records is full.
  Result<void> encrypt(IovecWindow& from);
  /// Nothing is encrypted after it.
  Result<void> say_goodbye();

  /// Exchanges what is for the peer with `taken`, which must be empty: both keep their memory.
  void take_outgoing(std::vector<std::byte>& taken) noexcept;

  /// The value that both ends of this line share, and nobody else (RFC 8446, 7.5). After the
  /// handshake.
  using Exported = std::array<std::byte, 32>;
  Result<Exported> exported() const;
  /// "TLS_AES_128_GCM_SHA256". After the handshake.
  std::string suite() const;
  /// Has the kernel taken over what is sent? Then nothing is to be encrypted here, no goodbye is to
  /// be said, and nothing is outgoing. After the handshake.
  bool kernel_sends() const noexcept;
  std::uint64_t records_per_key() const noexcept;
  /// Is there one key for all that is encrypted here? After the handshake. Thread-safe.
  bool keeps_key() const noexcept;
  /// Has such a key protected nearly all that it may (spare_records())?
  bool worn() const noexcept;
  /// Did the handshake resume an earlier one? With a key it never does.
  bool resumed() const noexcept;
  /// How often the peer has replaced its key.
  std::uint64_t keys_replaced_by_peer() const noexcept;

 private:
  struct Line;
  explicit TlsEngine(std::unique_ptr<Line> line);
  std::unique_ptr<Line> line_;
};

/// HMAC-SHA256 of `value` followed by `index` (little-endian), under `secret`.
std::array<std::byte, 32> keyed_digest(std::span<const std::byte> secret,
                                       std::span<const std::byte> value, std::uint16_t index);

}  // namespace ferry
