#include "rdma/placed.h"

#include <algorithm>
#include <cassert>
#include <functional>
#include <iterator>
#include <utility>

#include "rdma/room.h"

namespace ferry {
namespace {

constexpr const char* k_pin_buffers = "pin buffers to send pages by RDMA";

}  // namespace

RdmaPlaced::RdmaPlaced(RdmaLine& line, const std::string& peer, std::uint64_t most_pinned)
    : line_(line), act_("write to the memory of " + peer), most_pinned_(most_pinned) {}

Result<void> RdmaPlaced::attach(const GuestMemory& memory) {
  FERRY_TRY(check());
  assert(attached_.empty());
  if (most_pinned_ != 0 && memory.total_bytes() > most_pinned_) return {};
  std::vector<std::span<std::byte>> mapped;
  for (const MemoryRegion& region : memory.regions()) {
    if (region.host != nullptr) mapped.emplace_back(region.host, region.length);
  }
  const std::string act = "pin guest memory to send it by RDMA";
  // What a guest has never touched would come with the pin: it must not cost the host its guests.
  // The lanes behind the first find all of it pinned.
  if (!line_.domain().has_all(mapped, DeviceMay::read)) {
    FERRY_TRY(check_room(bytes_to_come(memory), memory_left(), act));
  }
  auto pins = FERRY_TRY(line_.domain().pin_all(mapped, DeviceMay::read, act));
  for (std::size_t i = 0; i < mapped.size(); ++i) {
    attached_.push_back({mapped[i], std::move(pins[i])});
  }
  return {};
}

Result<void> RdmaPlaced::check() {
  if (failure_) return std::unexpected(*failure_);
  return {};
}

Result<void> RdmaPlaced::keep(Result<void> done) {
  if (!done && !failure_) failure_ = done.error();
  return done;
}

/// Blocks until `ready()`, or until it cannot be any more.
template <class Ready>
Result<void> RdmaPlaced::wait(Held& held, Ready ready) {
  line_.wait(held, RdmaLine::Also::ends_of_requests,
             [&] { return ready() || line_.broken().has_value(); });
  if (auto reason = line_.cancelled().error(act_)) return std::unexpected(*std::move(reason));
  if (ready()) return {};
  Error why = *line_.broken();
  why.context = act_ + ": " + why.context;
  return std::unexpected(std::move(why));
}

Result<std::span<std::byte>> RdmaPlaced::staging(std::size_t bytes) {
  FERRY_TRY(check());
  auto buffer = staging_.next(line_.domain(), k_pin_buffers);
  if (!buffer) {
    failure_ = buffer.error();
    return buffer;
  }
  Held held = line_.hold();
  FERRY_TRY(keep(wait(held, [this] { return line_.has_ended(staging_.used_until()); })));
  return buffer->first(bytes);
}

Result<void> RdmaPlaced::put(const PageRun& run, std::span<const std::byte> from) {
  FERRY_TRY(check());
  assert(run.length == from.size());
  Held held = line_.hold();
  if (puts_.size() == k_depth) FERRY_TRY(settle_oldest(held));
  return keep(put_all(held, run, from));
}

Result<void> RdmaPlaced::put_all(Held& held, const PageRun& run, std::span<const std::byte> from) {
  FERRY_TRY(wait(held, [this] { return admission_.has_value(); }));
  const std::optional<std::uint32_t> key = key_of(from);
  const std::uint64_t most = key ? k_most_a_request : k_staging_bytes;
  std::uint64_t last = 0;
  for (PageRun rest = run; rest.length > 0;) {
    const PageRun piece{rest.region, rest.offset, std::min(most, inside_of_chunk(rest))};
    const auto bytes = from.subspan(rest.offset - run.offset, piece.length);
    auto* const at = const_cast<std::byte*>(bytes.data());  // the device only reads it
    Segment source{at, static_cast<std::uint32_t>(bytes.size()), key.value_or(0)};
    if (!key) source = FERRY_TRY(copy_of(held, bytes));
    last = FERRY_TRY(put_piece(held, piece, source));
    rest.offset += piece.length;
    rest.length -= piece.length;
  }
  puts_.push_back(last);
  return {};
}

/// At the front of `rest`: what is within one grant.
std::uint64_t RdmaPlaced::inside_of_chunk(const PageRun& rest) const noexcept {
  const std::uint64_t chunk = admission_->chunk_bytes;
  return chunk == 0 ? rest.length : std::min(rest.length, chunk - rest.offset % chunk);
}

/// The number of its request.
Result<std::uint64_t> RdmaPlaced::put_piece(Held& held, const PageRun& piece, const Segment& from) {
  FERRY_TRY(wait(held, [&] { return line_.room_for_writes(held) > 0; }));
  // Last of all, so that nothing is waited for between having the grant and using it.
  Granted* const there = FERRY_TRY(wait_for_grant(held, piece));
  SendRequest write;
  write.from = from;
  write.remote_address = there->grant.address + (piece.offset - there->grant.run.offset);
  write.remote_key = there->grant.key;
  const std::uint64_t number = line_.post_writes(held, {&write, 1});
  there->used_until = number;
  const std::span<const std::byte> read(from.at, from.length);
  if (staging_.has(read)) staging_.use(read, number);
  if (copies_.has(read)) copies_.use(read, number);
  return number;
}

/// Under which the device may read the bytes where they are.
std::optional<std::uint32_t> RdmaPlaced::key_of(std::span<const std::byte> bytes) const noexcept {
  if (staging_.has(bytes)) return staging_.key();
  for (const Attached& one : attached_) {
    if (std::less<>{}(bytes.data(), one.memory.data())) continue;
    const auto offset = static_cast<std::size_t>(bytes.data() - one.memory.data());
    if (offset < one.memory.size() && bytes.size() <= one.memory.size() - offset) {
      return one.pin->local_key();
    }
  }
  return std::nullopt;
}

Result<Segment> RdmaPlaced::copy_of(Held& held, std::span<const std::byte> from) {
  const auto buffer = FERRY_TRY(copies_.next(line_.domain(), k_pin_buffers));
  FERRY_TRY(wait(held, [this] { return line_.has_ended(copies_.used_until()); }));
  std::ranges::copy(from, buffer.begin());
  return Segment{buffer.data(), static_cast<std::uint32_t>(from.size()), copies_.key()};
}

Result<void> RdmaPlaced::get(const PageRun&, std::span<std::byte>) {
  return fail(Errc::unsupported, act_ + ": it cannot be read");
}

Result<void> RdmaPlaced::settle_oldest(Held& held) {
  const std::uint64_t last = puts_.front();
  FERRY_TRY(keep(wait(held, [&] { return line_.has_ended(last); })));
  puts_.pop_front();
  return {};
}

Result<void> RdmaPlaced::settle() {
  assert(!puts_.empty());
  FERRY_TRY(check());
  Held held = line_.hold();
  return settle_oldest(held);
}

/// A lane that is to wait for others must not keep them from the chunks that it has.
Result<void> RdmaPlaced::flush() {
  FERRY_TRY(check());
  Held held = line_.hold();
  while (!puts_.empty()) FERRY_TRY(settle_oldest(held));
  if (!admission_ || admission_->chunk_bytes == 0) return {};
  for (auto chunk = granted_.begin(); chunk != granted_.end();) {
    const auto next = std::next(chunk);
    if (chunk->second.here) give_back(held, chunk);
    chunk = next;
  }
  // Who sleeps on them next sends nothing: they would keep the chunks from the others.
  return keep(wait(held, [this] { return line_.all_said(); }));
}

// What may be written to.

RdmaPlaced::Place RdmaPlaced::place_of(const PageRun& run) const noexcept {
  const std::uint64_t chunk = admission_->chunk_bytes;
  return {run.region, chunk == 0 ? 0 : run.offset - run.offset % chunk};
}

Result<RdmaPlaced::Granted*> RdmaPlaced::wait_for_grant(Held& held, const PageRun& piece) {
  const Place place = place_of(piece);
  const auto is_here = [&] {
    const auto found = granted_.find(place);
    if (found == granted_.end() && admission_->chunk_bytes > 0) ask_for(held, place);
    return found != granted_.end() && found->second.here && !found->second.going;
  };
  if (piece.region >= admission_->regions) {
    return fail(Errc::protocol, act_ + ": the peer has no such region");
  }
  FERRY_TRY(wait(held, is_here));
  Granted& there = granted_.find(place)->second;
  const PageRun& run = there.grant.run;
  if (piece.offset < run.offset || piece.offset - run.offset > run.length ||
      piece.length > run.length - (piece.offset - run.offset)) {
    return fail(Errc::protocol, act_ + ": the peer has not granted all of the region");
  }
  return &there;
}

void RdmaPlaced::ask_for(const Held& held, const Place& place) {
  RdmaGrant wish;
  wish.run = {place.first, place.second, 0};  // how long it is the peer knows
  granted_[place].grant = wish;
  line_.say(held, RdmaWord::request, encode(wish));
}

Result<void> RdmaPlaced::hear(const Held&, RdmaWord word, std::span<const std::byte> payload) {
  if (word == RdmaWord::admit) {
    if (admission_) return fail(Errc::protocol, "the peer admits twice");
    admission_ = FERRY_TRY(decode_admission(payload));
    return {};
  }
  const RdmaGrant grant = FERRY_TRY(decode_grant(payload));
  if (!admission_) return fail(Errc::protocol, "the peer grants before it admits");
  if (word == RdmaWord::grant) return hear_grant(grant);
  const auto chunk = granted_.find({grant.run.region, grant.run.offset});
  // One that is not here was given back, which has crossed with this.
  if (chunk != granted_.end() && chunk->second.here) {
    chunk->second.going = true;
    some_are_going_ = true;
  }
  return {};
}

Result<void> RdmaPlaced::hear_grant(const RdmaGrant& grant) {
  const Place place{grant.run.region, grant.run.offset};
  if (grant.run.region >= admission_->regions) {
    return fail(Errc::protocol, "the peer grants what it does not have");
  }
  const auto asked = granted_.find(place);
  if (admission_->chunk_bytes > 0) {
    if (asked == granted_.end() || asked->second.here ||
        grant.run.length > admission_->chunk_bytes) {
      return fail(Errc::protocol, "the peer grants what it was not asked for");
    }
  } else if (asked != granted_.end() || grant.run.offset != 0) {
    return fail(Errc::protocol, "the peer grants a region twice");
  }
  granted_[place] = {.grant = grant, .here = true};
  return {};
}

void RdmaPlaced::give_back(const Held& held, std::map<Place, Granted>::iterator chunk) {
  RdmaGrant done;
  done.run = chunk->second.grant.run;
  granted_.erase(chunk);
  line_.say(held, RdmaWord::revoked, encode(done));
}

/// Chunks go when the last request that writes there has ended.
void RdmaPlaced::look_again(const Held& held) {
  if (!some_are_going_) return;
  some_are_going_ = false;
  for (auto chunk = granted_.begin(); chunk != granted_.end();) {
    const auto next = std::next(chunk);
    if (chunk->second.going && line_.has_ended(chunk->second.used_until)) {
      give_back(held, chunk);
    } else if (chunk->second.going) {
      some_are_going_ = true;
    }
    chunk = next;
  }
}

}  // namespace ferry
