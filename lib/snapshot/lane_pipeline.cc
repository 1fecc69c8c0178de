#include "snapshot/lane_pipeline.h"

#include <algorithm>
#include <utility>

namespace ferry {

std::uint64_t BuffersInUse::take(std::uint64_t bytes) {
  buffers_.push_back({.bytes = bytes});
  bytes_ += bytes;
  return first_ + buffers_.size() - 1;
}

void BuffersInUse::give_back(std::uint64_t number) {
  buffers_[number - first_].given_back = true;
  while (!buffers_.empty() && buffers_.front().given_back) {
    bytes_ -= buffers_.front().bytes;
    buffers_.pop_front();
    ++first_;
  }
}

LanePipeline::LanePipeline(std::unique_ptr<PlacedIo> io, PhaseClock& clock, DealWith deal_with)
    : io_(std::move(io)), clock_(clock), deal_with_(std::move(deal_with)) {}

/// While there are puts, gets have half of the lane, and the run that goes beyond it: else it would
/// be all gets, and then all puts, and never both.
bool LanePipeline::has_room(std::uint64_t staged) const noexcept {
  // What has come in is dealt with first: its buffer is its own until the next is asked for.
  if (!come_.empty()) return false;
  const std::uint64_t most = io_->staged_bytes();
  if (io_->under_way() == io_->depth() || staged > most - in_use_.bytes()) return false;
  const unsigned parts = puts_on_ ? 2 : 1;
  return gets_ == 0 || (gets_ < io_->depth() / parts && got_bytes_ <= most / parts);
}

Result<void> LanePipeline::in_pieces(
    PageRun run, const std::function<Result<void>(const PageRun&)>& each) const {
  while (run.length > 0) {
    PageRun piece = run;
    piece.length = std::min<std::uint64_t>(run.length, io_->staging_bytes());
    FERRY_TRY(each(piece));
    run.offset += piece.length;
    run.length -= piece.length;
  }
  return {};
}

Result<LanePipeline::Read> LanePipeline::begin(const PageRun& run, std::span<std::byte> into,
                                               std::uint64_t bytes) {
  const std::uint64_t staged = into.empty() ? bytes : 0;
  while (!has_room(staged)) FERRY_TRY(go_on());
  const unsigned under_way = io_->under_way();
  if (into.empty()) into = FERRY_TRY(io_->staging(staged));
  if (io_->under_way() != under_way) {
    // Better no file than one with other bytes in it.
    return fail(Errc::system, "take a buffer of a lane: all of them are in use",
                "this is a bug of Ferry's");
  }
  got_bytes_ += staged;
  return Read{.run = run, .bytes = into, .staged = staged, .buffer = in_use_.take(staged)};
}

Result<void> LanePipeline::get(const PageRun& from, const Read& read) {
  FERRY_TRY(io_->get(from, read.bytes));
  under_way_.push_back({Kind::get, read});
  ++gets_;
  return {};
}

Result<void> LanePipeline::got(const Read& read) {
  FERRY_TRY(deal_with_(read));
  got_bytes_ -= read.staged;
  if (read.staged == 0 || puts() == 0) {
    in_use_.give_back(read.buffer);
  } else {
    under_way_.push_back({Kind::held, read});
  }
  return {};
}

Result<void> LanePipeline::put(const PageRun& to, std::span<const std::byte> bytes) {
  while (io_->under_way() == io_->depth()) FERRY_TRY(settle());
  FERRY_TRY(io_->put(to, bytes));
  under_way_.push_back({.kind = Kind::put});
  puts_on_ = true;
  return {};
}

Result<void> LanePipeline::finish() {
  while (!under_way_.empty() || !come_.empty()) FERRY_TRY(go_on());
  return {};
}

Result<void> LanePipeline::go_on() {
  if (come_.empty()) return settle();
  const Read read = come_.front();
  come_.pop_front();
  return got(read);
}

/// The oldest. Deals with nothing: it may be called out of the midst of that.
Result<void> LanePipeline::settle() {
  const Kind oldest = under_way_.front().kind;
  clock_.turn_to(oldest == Kind::put ? &LaneTimes::place : &LaneTimes::read);
  if (oldest != Kind::held) FERRY_TRY(io_->settle());
  clock_.turn_to(&LaneTimes::read);
  const Read read = under_way_.front().read;
  under_way_.pop_front();
  switch (oldest) {
    case Kind::get:
      --gets_;
      come_.push_back(read);
      break;
    case Kind::put:
      break;
    case Kind::held:
      in_use_.give_back(read.buffer);
      break;
  }
  return {};
}

}  // namespace ferry
