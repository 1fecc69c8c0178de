#include "channels/file_lane.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <utility>

#include "base/escape.h"

namespace ferry {

Result<std::unique_ptr<FileLane>> FileLane::create(Setting setting, const MakeEngine& make_engine) {
  std::unique_ptr<FileLane> lane(
      new FileLane(std::move(setting), FERRY_TRY(FileStaging::create())));
  lane->engine_ = FERRY_TRY(make_engine(lane->staging_.all()));
  return lane;
}

FileLane::~FileLane() {
  // The memory is on loan until then. What has moved in part is not gone on with. Where the kernel
  // does not say any more what has ended, nothing can be done for memory that is the caller's.
  auto left = std::ranges::count_if(moves_, [](const Move& move) { return !move.ended; });
  while (left > 0 && engine_->wait()) --left;
  if (left > 0) staging_.leave_behind();
}

Result<std::span<std::byte>> FileLane::staging(std::size_t bytes) {
  assert(bytes > 0 && bytes <= staging_bytes() && bytes % k_unit_bytes == 0);
  if (failure_) return std::unexpected(*failure_);
  while (true) {
    if (const auto piece = staging_.take(bytes, settled_)) return *piece;
    FERRY_TRY(settle());
  }
}

Result<void> FileLane::put(const PageRun& run, std::span<const std::byte> from) {
  // An engine takes both directions alike; it only reads what is written.
  return begin(FileRequest::Direction::write, run,
               {const_cast<std::byte*>(from.data()), from.size()});
}

Result<void> FileLane::get(const PageRun& run, std::span<std::byte> into) {
  return begin(FileRequest::Direction::read, run, into);
}

Result<void> FileLane::begin(FileRequest::Direction direction, const PageRun& run,
                             std::span<std::byte> bytes) {
  assert(run.region < setting_.regions.size() && run.length == bytes.size());
  if (failure_) return std::unexpected(*failure_);
  if (moves_.size() == setting_.depth) FERRY_TRY(settle());
  const std::uint64_t number = settled_ + moves_.size();
  const auto& [file, region_offset] = setting_.regions[run.region];
  const std::uint64_t offset = region_offset + run.offset;
  moves_.push_back({.file = &file,
                    .begin = offset,
                    .rest = {.direction = direction,
                             .fd = file.fd,
                             .offset = offset,
                             .bytes = bytes,
                             .cookie = number},
                    .ended = false,
                    .error = {}});
  staging_.use(bytes, number + 1);
  if (direction == FileRequest::Direction::write && file.reserve) reserve(moves_.back().rest);
  auto begun = engine_->submit(moves_.back().rest);
  if (!begun) moves_.pop_back();
  return keep_failure(std::move(begun));
}

Result<void> FileLane::settle() {
  assert(!moves_.empty());
  while (!moves_.front().ended) FERRY_TRY(keep_failure(await_one()));
  const Move settled = std::move(moves_.front());
  moves_.pop_front();
  ++settled_;
  if (settled.rest.direction == FileRequest::Direction::write &&
      settled.rest.fd == settled.file->cached) {
    note_cached(settled);
  }
  const std::optional<Error>& error = settled.error;
  if (error && !failure_) failure_ = error;
  if (failure_) return std::unexpected(*failure_);
  return {};
}

Result<void> FileLane::flush() {
  while (!moves_.empty()) FERRY_TRY(settle());
  if (failure_) return std::unexpected(*failure_);
  return {};
}

Result<void> FileLane::await_one() {
  const FileCompletion completion = FERRY_TRY(engine_->wait());
  assert(completion.cookie >= settled_ && completion.cookie - settled_ < moves_.size());
  return go_on(moves_[completion.cookie - settled_], completion.result);
}

/// What was put off or interrupted is asked for again, but not for ever.
Result<void> FileLane::go_on(Move& move, std::int64_t result) {
  constexpr unsigned k_most_fruitless = 1000;
  FileRequest& rest = move.rest;
  const bool once_more = result == -EINTR || result == -EAGAIN;
  if (once_more && ++move.fruitless <= k_most_fruitless) return submit_again(move);
  const int cached = move.file->cached;
  if (result == -EINVAL && cached >= 0 && rest.fd != cached) {
    rest.fd = cached;
    return submit_again(move);
  }
  if (result > 0) {
    rest.offset += static_cast<std::uint64_t>(result);
    rest.bytes = rest.bytes.subspan(static_cast<std::size_t>(result));
    move.fruitless = 0;
    if (!rest.bytes.empty()) return submit_again(move);
  } else {
    move.error = failed(move, static_cast<int>(-result));
  }
  move.ended = true;
  return {};
}

/// A hint: a disk that is full tells whoever writes. Of a short run it costs more than it saves.
void FileLane::reserve(const FileRequest& request) {
  constexpr std::size_t k_worth_it = 64 * 1024;
  if (request.bytes.size() < k_worth_it) return;
  (void)::fallocate(request.fd, FALLOC_FL_KEEP_SIZE, static_cast<::off_t>(request.offset),
                    static_cast<::off_t>(request.bytes.size()));
}

/// It is written to the page cache.
void FileLane::note_cached(const Move& move) {
  constexpr std::uint64_t k_at_once = 1024 * 1024;
  const bool goes_on = cached_.fd == move.file->cached && cached_.end <= move.begin &&
                       move.begin - cached_.end <= k_at_once;
  if (!goes_on) {
    begin_writing();
    cached_ = {.fd = move.file->cached, .begin = move.begin};
  }
  cached_.end = move.rest.offset;
  if (cached_.end - cached_.begin >= k_at_once || moves_.empty()) begin_writing();
}

/// A hint: whether it was heard shows in the fsync, and nowhere else.
void FileLane::begin_writing() {
  if (cached_.begin < cached_.end) {
    (void)::sync_file_range(cached_.fd, static_cast<off64_t>(cached_.begin),
                            static_cast<off64_t>(cached_.end - cached_.begin),
                            SYNC_FILE_RANGE_WRITE);
  }
  cached_.begin = cached_.end;
}

/// One that is not taken has ended: nothing will be heard of it.
Result<void> FileLane::submit_again(Move& move) {
  auto taken = engine_->submit(move.rest);
  if (!taken) {
    move.error = taken.error();
    move.ended = true;
  }
  return taken;
}

Error FileLane::failed(const Move& move, int sys) {
  const bool reads = move.rest.direction == FileRequest::Direction::read;
  std::string act = fmt::format("{} {} at offset {:#x}", reads ? "read" : "write",
                                in_quotes(move.file->shown_as), move.rest.offset);
  if (sys == 0) {
    return {Errc::system, 0, act + (reads ? ": the file became shorter" : ": nothing was taken"),
            reads ? "is something else writing to it?" : ""};
  }
  return {Errc::system, sys, std::move(act),
          sys == ENOSPC || sys == EDQUOT ? "is the disk full?" : ""};
}

Result<void> FileLane::keep_failure(Result<void> done) {
  if (!done && !failure_) failure_ = done.error();
  return done;
}

}  // namespace ferry
