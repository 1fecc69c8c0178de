#include "session/state_spool.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>

#include "base/checksum.h"
#include "base/escape.h"
#include "wire/limits.h"

namespace ferry {
namespace {

/// A section is named in every error: whoever reads it has many devices.
std::string about(const StateSection& section) {
  return fmt::format("receive device state {}", in_quotes(section.name));
}

}  // namespace

StateSpool::StateSpool(std::uint64_t most, std::string folder)
    : most_(most), folder_(std::move(folder)) {}

Result<void> StateSpool::begin_section(std::string_view name, std::uint32_t version) {
  const auto refuse = [&](std::string_view why) {
    return fail(Errc::protocol, fmt::format("receive device state {}: {}", in_quotes(name), why));
  };
  if (most_ == 0) {
    return fail(Errc::refused, fmt::format("receive device state {}: there is nothing here that "
                                           "could load it",
                                           in_quotes(name)));
  }
  if (closed_) return refuse("all had been said");
  if (receiving()) return refuse("the section before it has not ended");
  if (sections_.size() == wire::k_max_state_sections) return refuse("too many sections");
  if (!names_.emplace(name).second) return refuse("the name comes twice");
  sections_.push_back({.section = {.name = std::string(name), .version = version},
                       .at = bytes_,
                       .first_piece = checksums_.size()});
  return {};
}

Result<void> StateSpool::append(std::span<const std::byte> piece) {
  if (closed_ || !receiving()) {
    return fail(Errc::protocol, "receive device state: bytes outside of any section");
  }
  Kept& kept = sections_.back();
  if (piece.empty() || piece.size() > k_state_piece_bytes ||
      kept.section.length % k_state_piece_bytes != 0) {
    return fail(Errc::protocol, about(kept.section) + ": a piece of the wrong length");
  }
  if (piece.size() > most_ - bytes_) {
    return fail(
        Errc::refused,
        fmt::format("{}: more than {} bytes of device state in all", about(kept.section), most_),
        "ReceiveOptions::max_state_bytes");
  }
  FERRY_TRY(keep(piece));
  const std::uint64_t checksum = xxh3_64(piece);
  checksums_.push_back(checksum);
  kept.checksum = chain(kept.checksum, checksum);
  kept.section.length += piece.size();
  bytes_ += piece.size();
  return {};
}

Result<void> StateSpool::keep(std::span<const std::byte> piece) {
  if (!file_ && piece.size() <= k_in_memory - memory_.size()) {
    memory_.insert(memory_.end(), piece.begin(), piece.end());
    return {};
  }
  if (!file_) FERRY_TRY(open_file());
  std::uint64_t at = bytes_ - memory_.size();
  while (!piece.empty()) {
    const ssize_t wrote = ::pwrite(file_.get(), piece.data(), piece.size(), static_cast<off_t>(at));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return fail_sys(Errc::system, errno, "keep device state in " + folder_);
    piece = piece.subspan(static_cast<std::size_t>(wrote));
    at += static_cast<std::uint64_t>(wrote);
  }
  return {};
}

Result<void> StateSpool::open_file() {
  file_.reset(::open(folder_.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (file_) return {};
  if (errno != EOPNOTSUPP && errno != EISDIR) {
    return fail_sys(Errc::system, errno, "keep device state in " + folder_,
                    "ReceiveOptions::state_folder");
  }
  // A file system without nameless files.
  std::string path = folder_ + "/ferry-state-XXXXXX";
  file_.reset(::mkostemp(path.data(), O_CLOEXEC));
  if (!file_) return fail_sys(Errc::system, errno, "keep device state in " + folder_);
  ::unlink(path.c_str());
  return {};
}

Result<void> StateSpool::end_section(std::uint64_t length, std::uint64_t checksum) {
  if (closed_ || !receiving()) {
    return fail(Errc::protocol, "receive device state: the end of no section");
  }
  Kept& kept = sections_.back();
  if (length != kept.section.length || checksum != kept.checksum) {
    return fail(
        Errc::integrity,
        fmt::format("{}: {} bytes came, and {} were sent; checksums {:016x} and {:016x}",
                    about(kept.section), kept.section.length, length, kept.checksum, checksum));
  }
  kept.open = false;
  return {};
}

Result<void> StateSpool::close() {
  if (closed_) return {};  // it may be read already
  closed_ = true;
  if (!receiving()) return {};
  return fail(Errc::protocol, about(sections_.back().section) + ": it has no end");
}

Result<std::optional<StateSection>> StateSpool::next_section() {
  assert(closed_);
  if (next_ == sections_.size()) return std::nullopt;
  read_ = 0;
  return sections_[next_++].section;
}

Result<std::span<const std::byte>> StateSpool::next_piece() {
  assert(next_ > 0);
  const Kept& kept = sections_[next_ - 1];
  const std::size_t length =
      std::min<std::uint64_t>(k_state_piece_bytes, kept.section.length - read_);
  if (length == 0) return std::span<const std::byte>{};
  const std::uint64_t at = kept.at + read_;
  const auto wrong = [&] { return "load device state " + in_quotes(kept.section.name); };

  std::span<const std::byte> piece;
  if (at < memory_.size()) {
    piece = std::span(memory_).subspan(at, length);
  } else {
    piece_.resize(length);
    for (std::size_t done = 0; done < length;) {
      const ssize_t got = ::pread(file_.get(), piece_.data() + done, length - done,
                                  static_cast<off_t>(at - memory_.size() + done));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return fail_sys(Errc::system, errno, wrong());
      if (got == 0) return fail(Errc::integrity, wrong() + ": it was cut short where it was kept");
      done += static_cast<std::size_t>(got);
    }
    piece = piece_;
  }
  if (xxh3_64(piece) != checksums_[kept.first_piece + read_ / k_state_piece_bytes]) {
    return fail(Errc::integrity, wrong() + ": it was damaged where it was kept");
  }
  read_ += length;
  return piece;
}

}  // namespace ferry
