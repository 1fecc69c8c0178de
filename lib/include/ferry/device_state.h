// What a guest is beside its memory: the state of its vCPUs and devices, in named sections.
//
//   Result<void> save_state(StateWriter& out) override {
//     out.section("clock", 1).u64(ticks_).boolean(running_);
//     out.section("vcpu0", 3).plain(registers_).bytes(fpu_);
//     return {};
//   }
//
//   Result<void> load_state(StateReader& in) override {
//     while (const auto section = FERRY_TRY(in.next())) {
//       if (section->name == "clock" && section->version == 1) {
//         ticks_ = FERRY_TRY(in.u64());
//         running_ = FERRY_TRY(in.boolean());
//       } else if (section->name == "vcpu0" && section->version >= 2) {
//         registers_ = FERRY_TRY(in.plain<Registers>());
//         FERRY_TRY(in.bytes(fpu_));
//       } else {
//         return in.refuse("not known here");
//       }
//     }
//     return {};
//   }
//
// Numbers are little-endian. Sections come in the order in which they were written, each with a
// checksum. They are streamed, so a section may have gigabytes: the source holds no more than
// 32 MiB of them in memory at a time, the destination 16 MiB, and the rest in a file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "ferry/result.h"

namespace [[gnu::visibility("default")]] ferry {

/// One section, as a reader finds it.
struct StateSection {
  std::string name;           ///< the peer's word: 1 to 255 bytes, no NUL; it comes once
  std::uint32_t version = 0;  ///< the device's own
  std::uint64_t length = 0;   ///< in bytes
};

/// A section's bytes travel and are kept in pieces: all of this length but the last, which is
/// shorter and not empty.
inline constexpr std::size_t k_state_piece_bytes = 256 * 1024;

/// Takes sections, piece by piece, in this order: begin_section, append for each piece,
/// end_section. The other end of a StateWriter. A failure is final.
class StateSink {
 public:
  virtual Result<void> begin_section(std::string_view name, std::uint32_t version) = 0;
  virtual Result<void> append(std::span<const std::byte> piece) = 0;
  /// `checksum`: the chain (0 at first; XXH3-64 of the chain so far and the next value) over the
  /// XXH3-64 of each piece.
  virtual Result<void> end_section(std::uint64_t length, std::uint64_t checksum) = 0;

 protected:
  ~StateSink() = default;
};

/// Gives sections back, in their order. The other end of a StateReader.
class StateOrigin {
 public:
  /// Turns to the next section; what is left of the last one is passed over. Nothing: that was all.
  virtual Result<std::optional<StateSection>> next_section() = 0;
  /// The next piece of the section, verified; empty at its end. Valid until the next call.
  virtual Result<std::span<const std::byte>> next_piece() = 0;

 protected:
  ~StateOrigin() = default;
};

/// Structs that may be copied byte by byte: those of a kernel interface, for instance. Both hosts
/// must see them alike.
template <class T>
concept PlainState = std::is_trivially_copyable_v<T> && !std::is_pointer_v<T>;

/// Writes the sections of a guest. One thread uses it; nothing of it is kept longer than the call
/// that it was given to.
///
/// The first failure is remembered, and everything after it does nothing: a guest writes on, and
/// Ferry asks once at the end. Who writes gigabytes looks at status() now and then.
class StateWriter {
 public:
  explicit StateWriter(StateSink& sink);
  StateWriter(const StateWriter&) = delete;
  StateWriter& operator=(const StateWriter&) = delete;

  /// Ends the section before, and begins one. `name` has 1 to 255 bytes, no NUL, and no other
  /// section has it (Errc::usage). Nothing may be written before the first section.
  StateWriter& section(std::string_view name, std::uint32_t version = 1);

  StateWriter& u8(std::uint8_t value) { return number(value, 1); }
  StateWriter& u16(std::uint16_t value) { return number(value, 2); }
  StateWriter& u32(std::uint32_t value) { return number(value, 4); }
  StateWriter& u64(std::uint64_t value) { return number(value, 8); }
  StateWriter& boolean(bool value) { return number(value ? 1 : 0, 1); }
  /// A u32 length, and the text.
  StateWriter& string(std::string_view text);
  /// As they are; the reader must know how many.
  StateWriter& bytes(std::span<const std::byte> from);
  /// A struct as it lies in memory.
  template <PlainState T>
  StateWriter& plain(const T& value) {
    return bytes(std::as_bytes(std::span(&value, 1)));
  }

  /// Errc::usage, naming the section, for what the guest did wrong; otherwise why the other end
  /// takes no more.
  Result<void> status() const;
  /// Ends the last section. Ferry calls it when the guest has written all.
  Result<void> finish();

  /// How much was written so far, in bytes.
  std::uint64_t bytes_written() const noexcept { return total_; }
  std::size_t sections() const noexcept { return names_.size(); }

 private:
  StateWriter& number(std::uint64_t value, unsigned size);
  Result<void> begin(std::string_view name, std::uint32_t version);
  Result<void> end_section();
  Result<void> flush();
  void remember(Result<void> done);

  StateSink& sink_;
  std::optional<Error> failure_;
  std::vector<std::string> names_;  // so far; the last one is open, unless finished_
  bool finished_ = false;
  std::vector<std::byte> piece_;
  std::uint64_t length_ = 0;    // of the section, what piece_ holds included
  std::uint64_t checksum_ = 0;  // chain over the pieces that went
  std::uint64_t total_ = 0;
};

/// Reads the sections of a guest. One thread uses it.
///
/// A read beyond a section's end, and a next() that would leave bytes unread, are Errc::guest and
/// say which section, version and offset: two builds of a device that differ in a field are found
/// where they differ.
class StateReader {
 public:
  explicit StateReader(StateOrigin& origin) : origin_(origin) {}
  StateReader(const StateReader&) = delete;
  StateReader& operator=(const StateReader&) = delete;

  /// Turns to the next section; nothing after the last. All of the one before must have been read
  /// or skipped.
  Result<std::optional<StateSection>> next();

  Result<std::uint8_t> u8();
  Result<std::uint16_t> u16();
  Result<std::uint32_t> u32();
  Result<std::uint64_t> u64();
  /// 0 or 1; anything else is an error.
  Result<bool> boolean();
  /// Of at most `longest` bytes.
  Result<std::string> string(std::size_t longest = 4096);
  /// Fills all of `into`.
  Result<void> bytes(std::span<std::byte> into);
  template <PlainState T>
  Result<T> plain() {
    T value{};
    if (auto read = bytes(std::as_writable_bytes(std::span(&value, 1))); !read) {
      return std::unexpected(std::move(read).error());
    }
    return value;
  }
  /// The next bytes of the section without copying them, as many as lie together, at most `most`;
  /// empty at its end. Valid until the next call: for gigabytes.
  Result<std::span<const std::byte>> some(std::size_t most = k_state_piece_bytes);
  /// Passes over what is left of the section.
  void skip();

  std::uint64_t offset() const noexcept { return offset_; }
  std::uint64_t remaining() const noexcept { return section_ ? section_->length - offset_ : 0; }

  /// An error that names the section, its version and the offset, for what a device finds wrong.
  std::unexpected<Error> refuse(std::string_view why) const;

 private:
  Result<std::uint64_t> number(unsigned size);
  std::unexpected<Error> refuse_at(std::uint64_t offset, std::string_view why) const;

  StateOrigin& origin_;
  std::optional<StateSection> section_;
  std::span<const std::byte> piece_;  // what is left of the piece at hand
  std::uint64_t offset_ = 0;
};

}  // namespace ferry
