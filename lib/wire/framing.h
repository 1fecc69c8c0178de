// What all messages share: a magic and the length in front, a checksum of all of it at the end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/cursor.h"
#include "ferry/result.h"
#include "wire/limits.h"

namespace ferry::wire {

inline constexpr std::size_t k_checksum_bytes = 8;

/// One of the four kinds of message.
struct MessageForm {
  std::string_view name;   ///< for errors
  std::uint32_t magic;     ///< the first four bytes
  std::size_t min_length;  ///< of the whole message
  std::size_t max_length;
};

/// Four letters as they stand on the wire.
consteval std::uint32_t magic_of(std::string_view letters) {
  std::uint32_t magic = 0;
  for (std::size_t i = 0; i < 4; ++i) magic |= std::uint32_t{std::uint8_t(letters.at(i))} << 8 * i;
  return magic;
}

inline constexpr MessageForm k_hello_form{"hello", magic_of("FRYH"), 84, k_max_hello_bytes};
inline constexpr MessageForm k_hello_ack_form{"hello-ack", magic_of("FRYA"), 46, k_max_hello_bytes};
inline constexpr MessageForm k_control_form{"control frame", magic_of("FRYC"), 18,
                                            k_max_control_bytes};
inline constexpr MessageForm k_packet_form{"packet header", magic_of("FRYP"), 48,
                                           k_max_packet_header_bytes};

/// Writes one message: construct, write the fields, seal. The bytes must outlive it.
class MessageWriter : public ByteWriter {
 public:
  MessageWriter(std::vector<std::byte>& out, const MessageForm& form);
  /// Puts the length in and the checksum behind; returns the checksum. Last.
  std::uint64_t seal();

 private:
  std::vector<std::byte>& out_;
  const MessageForm& form_;
};

/// The fields of a message whose frame is sound, and its checksum.
struct OpenedMessage {
  ByteReader fields;
  std::uint64_t checksum;
};

/// The length that the prologue of a message of this form states, within the form's bounds.
/// Errc::protocol.
Result<std::size_t> stated_length(std::span<const std::byte> prologue, const MessageForm& form);

/// Judges the frame: the checksum first (Errc::integrity), then magic and length (Errc::protocol).
Result<OpenedMessage> open_message(std::span<const std::byte> message, const MessageForm& form);

/// All fields have been read: none was missing, and nothing was left. Errc::protocol.
Result<void> close_message(const ByteReader& fields, const MessageForm& form);

/// At most `limit` bytes of `text`, cut between characters where it is UTF-8.
std::string_view cut_text(std::string_view text, std::size_t limit) noexcept;

/// Is it a run that some memory within the limits could have?
bool plausible(const PageRun& run) noexcept;

}  // namespace ferry::wire
