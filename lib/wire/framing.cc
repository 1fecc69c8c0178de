#include "wire/framing.h"

#include <fmt/format.h>

#include <cassert>

#include "base/checksum.h"

namespace ferry::wire {
namespace {

constexpr std::size_t k_length_offset = 4;

std::unexpected<Error> refuse(const MessageForm& form, std::string_view why) {
  return fail(Errc::protocol, fmt::format("decode {}: {}", form.name, why));
}

bool continues_character(char c) noexcept { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

}  // namespace

MessageWriter::MessageWriter(std::vector<std::byte>& out, const MessageForm& form)
    : ByteWriter(out), out_(out), form_(form) {
  u32(form.magic);
  u32(0);  // the length, once it is known
}

std::uint64_t MessageWriter::seal() {
  const std::size_t length = size() + k_checksum_bytes;
  assert(length >= form_.min_length && length <= form_.max_length);
  overwrite_u32(k_length_offset, static_cast<std::uint32_t>(length));
  const std::uint64_t checksum = xxh3_64(out_);
  u64(checksum);
  return checksum;
}

Result<std::size_t> stated_length(std::span<const std::byte> prologue, const MessageForm& form) {
  ByteReader fields(prologue);
  if (fields.u32() != form.magic) return refuse(form, "it does not begin like one");
  const std::size_t length = fields.u32();
  if (length < form.min_length || length > form.max_length) {
    return refuse(form, fmt::format("a length of {} bytes", length));
  }
  return length;
}

Result<OpenedMessage> open_message(std::span<const std::byte> message, const MessageForm& form) {
  if (message.size() < form.min_length || message.size() > form.max_length) {
    return refuse(form, fmt::format("a length of {} bytes", message.size()));
  }
  const std::size_t covered = message.size() - k_checksum_bytes;
  const std::uint64_t checksum = xxh3_64(message.first(covered));
  if (ByteReader(message.subspan(covered)).u64() != checksum) {
    return fail(Errc::integrity, fmt::format("decode {}: its checksum differs", form.name));
  }
  if (FERRY_TRY(stated_length(message, form)) != message.size()) {
    return refuse(form, "it is not as long as it says");
  }
  ByteReader fields(message.first(covered).subspan(k_prologue_bytes));
  return OpenedMessage{fields, checksum};
}

Result<void> close_message(const ByteReader& fields, const MessageForm& form) {
  if (!fields.ok()) return refuse(form, "it ends within a field");
  if (fields.remaining() != 0) return refuse(form, "bytes follow its last field");
  return {};
}

std::string_view cut_text(std::string_view text, std::size_t limit) noexcept {
  if (text.size() <= limit) return text;
  while (limit > 0 && continues_character(text[limit])) --limit;
  return text.substr(0, limit);
}

bool plausible(const PageRun& run) noexcept {
  return run.region < k_max_regions && run.length > 0 && run.offset % k_unit_bytes == 0 &&
         run.offset <= k_max_memory_bytes && run.length <= k_max_memory_bytes - run.offset;
}

}  // namespace ferry::wire
