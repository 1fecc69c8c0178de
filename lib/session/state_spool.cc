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
  const std::scoped_lock lock(mutex_);
  if (closed_) return refuse("all had been said");
  if (receiving()) return refuse("the section before it has not ended");
  if (sections_.size() == wire::k_max_state_sections) return refuse("too many sections");
  if (!names_.emplace(name).second) return refuse("the name comes twice");
  sections_.push_back({.section = {.name = std::string(name), .version = version}});
  return {};
}

/// A section is named in every error: whoever reads it has many devices.
std::string StateSpool::about(std::size_t section) const {
  if (section >= sections_.size()) {
    return fmt::format("receive device state, section {}", section);
  }
  return fmt::format("receive device state {}", in_quotes(sections_[section].section.name));
}

std::unexpected<Error> StateSpool::refuse(std::size_t section, std::string_view why) const {
  return fail(Errc::protocol, fmt::format("{}: {}", about(section), why));
}

Result<void> StateSpool::append(std::span<const std::byte> piece) {
  Place place;
  {
    const std::scoped_lock lock(mutex_);
    if (closed_ || !receiving()) {
      return fail(Errc::protocol, "receive device state: bytes outside of any section");
    }
    place = {sections_.size() - 1, sections_.back().appended};
    sections_.back().appended += piece.size();
  }
  return keep(place, piece);
}

Result<void> StateSpool::put(std::uint32_t section, std::uint64_t offset,
                             std::span<const std::byte> piece) {
  return keep({section, offset}, piece);
}

Result<void> StateSpool::keep(const Place& place, std::span<const std::byte> piece) {
  const Piece kept = FERRY_TRY(admit(place, piece));
  return in_memory(kept) ? Result<void>{} : write(piece, kept.at);
}

/// Gives it its place; what has one in memory is there with that.
Result<StateSpool::Piece> StateSpool::admit(const Place& place, std::span<const std::byte> piece) {
  const std::uint64_t checksum = xxh3_64(piece);
  const std::scoped_lock lock(mutex_);
  const auto [section, offset] = place;
  if (closed_) return refuse(section, "all had been said");
  if (piece.empty() || piece.size() > k_state_piece_bytes || offset % k_state_piece_bytes != 0) {
    return refuse(section, "a piece of the wrong length");
  }
  if (piece.size() > most_ - bytes_) {
    return fail(Errc::refused,
                fmt::format("{}: more than {} bytes of device state in all", about(section), most_),
                "ReceiveOptions::max_state_bytes");
  }
  // Else a peer could have us remember many times the bytes that it sends.
  if (piece.size() < k_state_piece_bytes && !short_.insert(section).second) {
    return refuse(section, "more than one piece is the last");
  }
  const Piece kept{.at = bytes_, .length = piece.size(), .checksum = checksum};
  if (!pieces_.emplace(place, kept).second) {
    return refuse(section, fmt::format("the piece at offset {} comes twice", offset));
  }
  if (in_memory(kept)) {
    memory_.insert(memory_.end(), piece.begin(), piece.end());
  } else if (!file_) {
    FERRY_TRY(open_file());
  }
  bytes_ += piece.size();
  return kept;
}

Result<void> StateSpool::write(std::span<const std::byte> piece, std::uint64_t at) const {
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
  const std::scoped_lock lock(mutex_);
  if (closed_ || !receiving()) {
    return fail(Errc::protocol, "receive device state: the end of no section");
  }
  Kept& kept = sections_.back();
  kept.section.length = length;
  kept.checksum = checksum;
  kept.open = false;
  return {};
}

Result<void> StateSpool::close() {
  const std::scoped_lock lock(mutex_);
  if (closed_) return {};  // it may be read already
  closed_ = true;
  if (receiving()) return refuse(sections_.size() - 1, "it has no end");
  if (!pieces_.empty() && pieces_.rbegin()->first.first >= sections_.size()) {
    return refuse(pieces_.rbegin()->first.first, "it was never begun");
  }
  for (std::size_t section = 0; section < sections_.size(); ++section) FERRY_TRY(check(section));
  return {};
}

/// Is all of it here, and is it what was sent?
Result<void> StateSpool::check(std::size_t section) const {
  const Kept& kept = sections_[section];
  std::uint64_t length = 0;
  std::uint64_t checksum = 0;
  bool gapless = true;
  for (auto at = pieces_.lower_bound({section, 0});
       at != pieces_.end() && at->first.first == section; ++at) {
    gapless = gapless && at->first.second == length;
    length += at->second.length;
    checksum = chain(checksum, at->second.checksum);
  }
  if (gapless && length == kept.section.length && checksum == kept.checksum) return {};
  return fail(Errc::integrity,
              fmt::format("{}: {} bytes came, and {} were sent; checksums {:016x} and {:016x}",
                          about(section), length, kept.section.length, checksum, kept.checksum));
}

std::size_t StateSpool::sections() const {
  const std::scoped_lock lock(mutex_);
  return sections_.size();
}

std::uint64_t StateSpool::bytes() const {
  const std::scoped_lock lock(mutex_);
  return bytes_;
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
  if (read_ == kept.section.length) return std::span<const std::byte>{};
  const Piece& found = pieces_.at({next_ - 1, read_});
  const auto [at, length, checksum] = found;
  const auto wrong = [&] { return "load device state " + in_quotes(kept.section.name); };

  std::span<const std::byte> piece;
  if (in_memory(found)) {
    piece = std::span(memory_).subspan(at, length);
  } else {
    piece_.resize(length);
    for (std::size_t done = 0; done < length;) {
      const ssize_t got =
          ::pread(file_.get(), piece_.data() + done, length - done, static_cast<off_t>(at + done));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return fail_sys(Errc::system, errno, wrong());
      if (got == 0) return fail(Errc::integrity, wrong() + ": it was cut short where it was kept");
      done += static_cast<std::size_t>(got);
    }
    piece = piece_;
  }
  if (xxh3_64(piece) != checksum) {
    return fail(Errc::integrity, wrong() + ": it was damaged where it was kept");
  }
  read_ += length;
  return piece;
}

}  // namespace ferry
