#include "ferry/device_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <utility>

#include "base/checksum.h"
#include "base/escape.h"
#include "ferry/guest.h"
#include "wire/limits.h"

namespace ferry {

static_assert(k_state_piece_bytes <= wire::k_max_state_piece_bytes);

StateWriter::StateWriter(StateSink& sink) : sink_(sink) {}

StateWriter& StateWriter::section(std::string_view name, std::uint32_t version) {
  if (!failure_) remember(begin(name, version));
  return *this;
}

Result<void> StateWriter::begin(std::string_view name, std::uint32_t version) {
  const auto refuse = [&](std::string_view why) {
    return fail(Errc::usage, fmt::format("save device state {}: {}", in_quotes(name), why));
  };
  if (name.empty() || name.size() > wire::k_max_name_bytes || name.find('\0') != name.npos) {
    return refuse("a name has 1 to 255 bytes, and no NUL");
  }
  if (std::ranges::find(names_, name) != names_.end()) return refuse("the name comes twice");
  if (names_.size() == wire::k_max_state_sections) return refuse("too many sections");
  FERRY_TRY(end_section());
  FERRY_TRY(sink_.begin_section(name, version));
  names_.emplace_back(name);
  return {};
}

StateWriter& StateWriter::string(std::string_view text) {
  if (text.size() > UINT32_MAX) {
    remember(fail(Errc::usage, "save device state: a string of more than 4 GiB"));
  }
  return u32(static_cast<std::uint32_t>(text.size())).bytes(std::as_bytes(std::span(text)));
}

StateWriter& StateWriter::bytes(std::span<const std::byte> from) {
  if (!failure_ && (names_.empty() || finished_)) {
    remember(fail(Errc::usage, "save device state: bytes outside of any section"));
  }
  while (!failure_ && !from.empty()) {
    const std::size_t fits = std::min(from.size(), k_state_piece_bytes - piece_.size());
    piece_.insert(piece_.end(), from.begin(), from.begin() + static_cast<std::ptrdiff_t>(fits));
    from = from.subspan(fits);
    length_ += fits;
    total_ += fits;
    if (piece_.size() == k_state_piece_bytes) remember(flush());
  }
  return *this;
}

StateWriter& StateWriter::number(std::uint64_t value, unsigned size) {
  std::array<std::byte, 8> field;
  for (unsigned i = 0; i < size; ++i) field[i] = static_cast<std::byte>(value >> (8 * i));
  return bytes(std::span(field).first(size));
}

Result<void> StateWriter::flush() {
  if (piece_.empty()) return {};
  checksum_ = chain(checksum_, xxh3_64(piece_));
  FERRY_TRY(sink_.append(piece_));
  piece_.clear();
  return {};
}

Result<void> StateWriter::end_section() {
  if (names_.empty() || finished_) return {};
  FERRY_TRY(flush());
  return sink_.end_section(std::exchange(length_, 0), std::exchange(checksum_, 0));
}

void StateWriter::remember(Result<void> done) {
  if (!done && !failure_) failure_ = std::move(done).error();
}

Result<void> StateWriter::status() const {
  if (failure_) return std::unexpected(*failure_);
  return {};
}

Result<void> StateWriter::finish() {
  if (!failure_) remember(end_section());
  finished_ = true;
  return status();
}

Result<std::optional<StateSection>> StateReader::next() {
  if (remaining() > 0) {
    return refuse(fmt::format("{} bytes of it were not read", remaining()));
  }
  section_ = FERRY_TRY(origin_.next_section());
  piece_ = {};
  offset_ = 0;
  return section_;
}

std::unexpected<Error> StateReader::refuse(std::string_view why) const {
  return refuse_at(offset_, why);
}

std::unexpected<Error> StateReader::refuse_at(std::uint64_t offset, std::string_view why) const {
  if (!section_) return fail(Errc::guest, fmt::format("load device state: {}", why));
  return fail(Errc::guest, fmt::format("load device state {} (version {}) at offset {} of {}: {}",
                                       in_quotes(section_->name), section_->version, offset,
                                       section_->length, why));
}

Result<void> StateReader::bytes(std::span<std::byte> into) {
  // Judged before anything is read: the offset is where the misreading began.
  if (!section_) return refuse("read before the first section");
  if (into.size() > remaining()) {
    return refuse(fmt::format("{} bytes wanted, {} left", into.size(), remaining()));
  }
  while (!into.empty()) {
    const auto part = FERRY_TRY(some(into.size()));
    std::ranges::copy(part, into.begin());
    into = into.subspan(part.size());
  }
  return {};
}

Result<std::span<const std::byte>> StateReader::some(std::size_t most) {
  if (remaining() == 0) return std::span<const std::byte>{};
  if (piece_.empty()) piece_ = FERRY_TRY(origin_.next_piece());
  assert(!piece_.empty());  // the section's length says that there is more
  const auto part = piece_.first(std::min(most, piece_.size()));
  piece_ = piece_.subspan(part.size());
  offset_ += part.size();
  return part;
}

void StateReader::skip() {
  offset_ = section_ ? section_->length : 0;  // the origin passes over it
  piece_ = {};
}

Result<std::uint64_t> StateReader::number(unsigned size) {
  std::array<std::byte, 8> field{};
  FERRY_TRY(bytes(std::span(field).first(size)));
  std::uint64_t value = 0;
  for (unsigned i = 0; i < size; ++i) {
    value |= std::to_integer<std::uint64_t>(field[i]) << (8 * i);
  }
  return value;
}

Result<std::uint8_t> StateReader::u8() { return static_cast<std::uint8_t>(FERRY_TRY(number(1))); }
Result<std::uint16_t> StateReader::u16() {
  return static_cast<std::uint16_t>(FERRY_TRY(number(2)));
}
Result<std::uint32_t> StateReader::u32() {
  return static_cast<std::uint32_t>(FERRY_TRY(number(4)));
}
Result<std::uint64_t> StateReader::u64() { return number(8); }

Result<bool> StateReader::boolean() {
  const std::uint64_t value = FERRY_TRY(number(1));
  if (value > 1) {
    return refuse_at(offset_ - 1, fmt::format("{} where 0 or 1 was expected", value));
  }
  return value == 1;
}

Result<std::string> StateReader::string(std::size_t longest) {
  const std::uint32_t length = FERRY_TRY(u32());
  if (length > longest || length > remaining()) {
    return refuse_at(offset_ - sizeof length,
                     fmt::format("a string of {} bytes, where {} are the most and {} are left",
                                 length, longest, remaining()));
  }
  std::string text(length, '\0');
  FERRY_TRY(bytes(std::as_writable_bytes(std::span(text))));
  return text;
}

Result<void> SourceGuest::save_state(StateWriter&) { return {}; }

Result<void> DestinationGuest::load_state(StateReader& in) {
  const auto section = FERRY_TRY(in.next());
  if (!section) return {};
  return fail(Errc::guest,
              fmt::format("load device state {}: this guest takes none", in_quotes(section->name)));
}

}  // namespace ferry
