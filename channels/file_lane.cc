#include "channels/file_lane.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstdlib>
#include <utility>

#include "base/escape.h"

namespace ferry {

void FileLane::FreeBytes::operator()(std::byte* bytes) const noexcept { std::free(bytes); }

Result<std::unique_ptr<FileLane>> FileLane::create(Setting setting, const MakeEngine& make_engine) {
  auto* const staging = static_cast<std::byte*>(
      std::aligned_alloc(k_unit_bytes, setting.depth * PlacedIo::k_staging_bytes));
  if (staging == nullptr) return fail(Errc::system, "make room for a lane: out of memory");
  std::unique_ptr<FileLane> lane(new FileLane(std::move(setting), staging));
  lane->engine_ = FERRY_TRY(make_engine(lane->all_staging()));
  return lane;
}

FileLane::FileLane(Setting setting, std::byte* staging)
    : setting_(std::move(setting)), staging_(staging), used_until_(setting_.depth) {}

FileLane::~FileLane() {
  // The memory is on loan until then. What has moved in part is not gone on with.
  auto left = std::ranges::count_if(moves_, [](const Move& move) { return !move.ended; });
  while (left > 0 && engine_->wait()) --left;
}

std::span<std::byte> FileLane::all_staging() const noexcept {
  return {staging_.get(), setting_.depth * k_staging_bytes};
}

Result<std::span<std::byte>> FileLane::staging() {
  if (failure_) return std::unexpected(*failure_);
  if (used_until_[buffer_] > settled_) buffer_ = (buffer_ + 1) % setting_.depth;
  while (used_until_[buffer_] > settled_) FERRY_TRY(settle());
  return all_staging().subspan(buffer_ * k_staging_bytes, k_staging_bytes);
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
  assert(run.region < setting_.region_offsets.size() && run.length == bytes.size());
  if (failure_) return std::unexpected(*failure_);
  if (moves_.size() == setting_.depth) FERRY_TRY(settle());
  const std::uint64_t number = settled_ + moves_.size();
  const std::uint64_t offset = setting_.region_offsets[run.region] + run.offset;
  moves_.push_back(
      {.begin = offset,
       .rest = {.direction = direction, .offset = offset, .bytes = bytes, .cookie = number},
       .ended = false,
       .error = {}});
  const auto all = all_staging();
  if (bytes.data() >= all.data() && bytes.data() < all.data() + all.size()) {
    used_until_[static_cast<std::size_t>(bytes.data() - all.data()) / k_staging_bytes] = number + 1;
  }
  if (direction == FileRequest::Direction::read && setting_.cached >= 0) {
    (void)::readahead(setting_.cached, static_cast<off64_t>(offset), bytes.size());  // a hint
  }
  auto begun = engine_->submit(moves_.back().rest);
  if (!begun) moves_.pop_back();
  return keep_failure(std::move(begun));
}

Result<void> FileLane::settle() {
  assert(!moves_.empty());
  while (!moves_.front().ended) FERRY_TRY(keep_failure(await_one()));
  const std::optional<Error> error = std::move(moves_.front().error);
  moves_.pop_front();
  ++settled_;
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

Result<void> FileLane::go_on(Move& move, std::int64_t result) {
  FileRequest& rest = move.rest;
  if (result == -EINTR || result == -EAGAIN) return submit_again(move);
  if (result > 0) {
    rest.offset += static_cast<std::uint64_t>(result);
    rest.bytes = rest.bytes.subspan(static_cast<std::size_t>(result));
    if (!rest.bytes.empty()) return submit_again(move);
  } else {
    move.error = failed(rest, static_cast<int>(-result));
  }
  move.ended = true;
  if (rest.direction == FileRequest::Direction::write && setting_.cached >= 0) {
    // A hint: whether it was heard shows in the fsync, and nowhere else.
    (void)::sync_file_range(setting_.cached, static_cast<off64_t>(move.begin),
                            static_cast<off64_t>(rest.offset - move.begin), SYNC_FILE_RANGE_WRITE);
  }
  return {};
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

Error FileLane::failed(const FileRequest& request, int sys) const {
  const bool reads = request.direction == FileRequest::Direction::read;
  std::string act = fmt::format("{} {} at offset {:#x}", reads ? "read" : "write",
                                in_quotes(setting_.shown_as), request.offset);
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
