#include "rdma/target.h"

#include <cassert>
#include <utility>

#include "rdma/lockable.h"
#include "rdma/room.h"

namespace ferry {

RdmaTarget::RdmaTarget(RdmaLine& line, const std::string& peer, std::uint64_t most_pinned)
    : line_(line), act_("let " + peer + " write to guest memory"), most_pinned_(most_pinned) {}

Result<void> RdmaTarget::check(const GuestMemory& memory) const {
  if (memory.regions().size() > RdmaAdmission::k_most_regions) {
    return fail(Errc::unsupported, act_ + ": it has too many regions");
  }
  for (const MemoryRegion& region : memory.regions()) {
    if (region.length > 0 && region.host == nullptr) {
      return fail(Errc::unsupported, act_ + ": region '" + region.name + "' is not mapped");
    }
  }
  return {};
}

/// Not with the line held: it takes as long as the memory is large.
Result<std::vector<PinningDomain::Pin>> RdmaTarget::pin_all(const GuestMemory& memory) {
  std::vector<std::span<std::byte>> mapped;
  for (const MemoryRegion& region : memory.regions()) {
    mapped.emplace_back(region.host, region.length);
  }
  return line_.domain().pin_all(mapped, DeviceMay::let_peers_write, act_);
}

Result<void> RdmaTarget::pin(const GuestMemory& memory, std::stop_token stop) {
  FERRY_TRY(check(memory));
  if (!may_pin_all_of(memory)) {
    return line_.domain().chunks_of(memory, most_pinned_)->check_lockable(act_);
  }
  // All that can be known before the first page is touched.
  FERRY_TRY(check_lockable(memory.total_bytes(), lock_limit(), act_));
  FERRY_TRY(check_room(bytes_to_come(memory), memory_left(), act_));
  FERRY_TRY(make_come(memory, stop, act_));
  auto pins = FERRY_TRY(pin_all(memory));
  const Held held = line_.hold();
  if (withdrawn_) return fail(Errc::cancelled, act_ + ": it was withdrawn meanwhile");
  kept_ = std::move(pins);
  return {};
}

Result<void> RdmaTarget::admit(const GuestMemory& memory) {
  FERRY_TRY(check(memory));
  return may_pin_all_of(memory) ? admit_all(memory) : admit_in_chunks(memory);
}

Result<void> RdmaTarget::admit_all(const GuestMemory& memory) {
  auto pins = FERRY_TRY(pin_all(memory));
  const Held held = line_.hold();
  if (withdrawn_) return fail(Errc::cancelled, act_ + ": it was withdrawn meanwhile");
  assert(pins_.empty() && !pool_);
  pins_ = std::move(pins);
  FERRY_TRY(line_.let_peer(held, QueuePair::PeerMay::write_too));
  const auto regions = static_cast<std::uint32_t>(memory.regions().size());
  line_.say(held, RdmaWord::admit, encode(RdmaAdmission{.regions = regions}));
  for (const MemoryRegion& region : memory.regions()) {
    if (region.length == 0) continue;
    RdmaGrant grant;
    grant.run = {region.id, 0, region.length};
    grant.address = reinterpret_cast<std::uint64_t>(region.host);
    grant.key = pins_[region.id]->remote_key();
    line_.say(held, RdmaWord::grant, encode(grant));
  }
  return {};
}

Result<void> RdmaTarget::admit_in_chunks(const GuestMemory& memory) {
  auto pool = line_.domain().chunks_of(memory, most_pinned_);
  FERRY_TRY(pool->check_lockable(act_));
  const Held held = line_.hold();
  if (withdrawn_) return fail(Errc::cancelled, act_ + ": it was withdrawn meanwhile");
  assert(pins_.empty() && !pool_);
  pool_ = std::move(pool);
  FERRY_TRY(line_.let_peer(held, QueuePair::PeerMay::write_too));
  RdmaAdmission admission;
  admission.regions = static_cast<std::uint32_t>(memory.regions().size());
  admission.chunk_bytes = pool_->chunk_bytes();
  line_.say(held, RdmaWord::admit, encode(admission));
  return {};
}

void RdmaTarget::withdraw() noexcept {
  std::vector<PinningDomain::Pin> pins;  // go when the line is free: it takes a while
  std::vector<PinningDomain::Pin> kept;
  std::shared_ptr<ChunkPool> pool;
  const Held held = line_.hold();
  const bool was_admitted = !pins_.empty() || pool_ != nullptr;
  withdrawn_ = true;
  // This queue pair takes no more writes; and what no other channel still lets its peer write to is
  // deregistered, which is what the device itself stands for.
  if (was_admitted && !line_.broken()) {
    if (auto taken = line_.let_peer(held, QueuePair::PeerMay::only_send); !taken) {
      line_.break_off(held, std::move(taken).error());
    }
  }
  pins.swap(pins_);
  kept.swap(kept_);
  pool.swap(pool_);
  if (pool) pool->leave(*this);
}

void RdmaTarget::leave() noexcept {
  const Held held = line_.hold();
  if (pool_) pool_->leave(*this);
}

Result<void> RdmaTarget::hear(const Held&, RdmaWord word, std::span<const std::byte> payload) {
  const RdmaGrant chunk = FERRY_TRY(decode_grant(payload));
  if (withdrawn_) return {};  // said before the peer could know
  if (!pool_) return fail(Errc::protocol, "the peer asks for chunks, and there are none");
  if (word == RdmaWord::request) return pool_->ask(*this, chunk.run);
  pool_->give_back(*this, chunk.run);
  return {};
}

/// The pool's, from whatever thread it has an answer in.
void RdmaTarget::wake() noexcept {
  answered_ = true;
  line_.nudge();
}

void RdmaTarget::look_again(const Held& held) {
  if (!pool_ || !answered_.exchange(false)) return;
  for (ChunkPool::Answer& answer : pool_->answers(*this)) {
    switch (answer.kind) {
      case ChunkPool::Answer::Kind::grant:
        line_.say(held, RdmaWord::grant, encode(answer.grant));
        break;
      case ChunkPool::Answer::Kind::give_back:
        line_.say(held, RdmaWord::revoke, encode(answer.grant));
        break;
      case ChunkPool::Answer::Kind::failure:
        return line_.break_off(held, std::move(answer.why));
    }
  }
}

}  // namespace ferry
