#include "rdma/chunk_pool.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "rdma/lockable.h"

namespace ferry {
namespace {

// Registering costs a call, and waiting for the peer a round trip: large chunks, but several.
constexpr std::uint64_t k_largest_chunk = 64 << 20;
constexpr std::uint64_t k_chunks_at_least = 8;

constexpr std::uint64_t chunk_for(std::uint64_t most) noexcept {
  return std::min(std::bit_floor(most / k_chunks_at_least), k_largest_chunk);
}

}  // namespace

ChunkPool::ChunkPool(std::shared_ptr<PinningDomain> domain, GuestMemory memory, std::uint64_t most)
    : domain_(std::move(domain)),
      memory_(std::move(memory)),
      most_(std::max(most, k_least_bound)),
      chunk_bytes_(chunk_for(most_)) {}

bool ChunkPool::is_of(const GuestMemory& memory) const noexcept {
  return std::ranges::equal(memory_.regions(), memory.regions(), [](const auto& a, const auto& b) {
    return a.host == b.host && a.length == b.length;
  });
}

Result<void> ChunkPool::check_lockable(const std::string& act) {
  const std::lock_guard lock(mutex_);
  if (is_lockable_) return {};
  FERRY_TRY(ferry::check_lockable(most_, lock_limit(), act));
  is_lockable_ = true;
  return {};
}

Result<PageRun> ChunkPool::chunk_at(const PageRun& place) const {
  if (place.region >= memory_.regions().size() || place.offset % chunk_bytes_ != 0 ||
      place.offset >= memory_.regions()[place.region].length) {
    return fail(Errc::protocol, "the peer asks for a chunk that there is not");
  }
  const std::uint64_t rest = memory_.regions()[place.region].length - place.offset;
  return PageRun{place.region, place.offset, std::min(chunk_bytes_, rest)};
}

Result<void> ChunkPool::ask(Member& member, const PageRun& place) {
  const PageRun chunk = FERRY_TRY(chunk_at(place));
  const std::lock_guard lock(mutex_);
  const auto known = chunks_.find({chunk.region, chunk.offset});
  const bool has = known != chunks_.end() && known->second.holders.contains(&member);
  const bool asked = std::ranges::any_of(
      wishes_, [&](const Wish& wish) { return wish.member == &member && wish.chunk == chunk; });
  if (has || asked) return fail(Errc::protocol, "the peer asks twice for a chunk");
  wishes_.push_back({&member, chunk});
  serve();
  return {};
}

void ChunkPool::give_back(Member& member, const PageRun& chunk) {
  const std::lock_guard lock(mutex_);
  const auto known = chunks_.find({chunk.region, chunk.offset});
  if (known == chunks_.end()) return;
  known->second.holders.erase(&member);
  drop_if_free(known);
  serve();
}

std::vector<ChunkPool::Answer> ChunkPool::answers(Member& member) {
  const std::lock_guard lock(mutex_);
  return std::exchange(answers_[&member], {});
}

void ChunkPool::leave(Member& member) {
  const std::lock_guard lock(mutex_);
  std::erase_if(wishes_, [&](const Wish& wish) { return wish.member == &member; });
  for (auto chunk = chunks_.begin(); chunk != chunks_.end();) {
    const auto next = std::next(chunk);
    if (chunk->second.holders.erase(&member) > 0) drop_if_free(chunk);
    chunk = next;
  }
  answers_.erase(&member);
  serve();
}

/// One that must go and that nobody has any more.
void ChunkPool::drop_if_free(std::map<Place, Chunk>::iterator chunk) {
  if (!chunk->second.going || !chunk->second.holders.empty()) return;
  pinned_ -= chunk->second.length;
  chunks_.erase(chunk);
}

void ChunkPool::serve() {
  while (!wishes_.empty() && serve_first()) wishes_.pop_front();
}

/// False where it has to wait for others to give back theirs.
bool ChunkPool::serve_first() {
  const Wish& first = wishes_.front();
  const auto known = chunks_.find({first.chunk.region, first.chunk.offset});
  if (known != chunks_.end() && known->second.going) return false;
  if (known != chunks_.end()) {
    grant(*first.member, first.chunk, known->second);
    return true;
  }
  while (first.chunk.length > most_ - pinned_) {
    const bool one_is_going =
        std::ranges::any_of(chunks_, [](const auto& entry) { return entry.second.going; });
    if (one_is_going) return false;
    let_go_of_oldest();
  }
  auto memory = memory_.at(first.chunk);
  auto pin = memory ? domain_->pin(*memory, DeviceMay::let_peers_write, "pin guest memory")
                    : std::unexpected(memory.error());
  if (!pin) {
    tell(*first.member, {.kind = Answer::Kind::failure, .why = pin.error()});
    return true;
  }
  pinned_ += first.chunk.length;
  Chunk& chunk = chunks_[{first.chunk.region, first.chunk.offset}];
  chunk.pin = *std::move(pin);
  chunk.length = first.chunk.length;
  grant(*first.member, first.chunk, chunk);
  return true;
}

void ChunkPool::grant(Member& member, const PageRun& run, Chunk& chunk) {
  chunk.holders.insert(&member);
  chunk.granted_last = ++grants_;
  const std::byte* const at = memory_.regions()[run.region].host + run.offset;
  tell(member, {.kind = Answer::Kind::grant,
                .grant = {.run = run,
                          .address = reinterpret_cast<std::uint64_t>(at),
                          .key = chunk.pin->remote_key()}});
}

/// There is one: the bound has room for several.
void ChunkPool::let_go_of_oldest() {
  const auto oldest = std::ranges::min_element(
      chunks_, {}, [](const auto& entry) { return entry.second.granted_last; });
  oldest->second.going = true;
  for (Member* holder : oldest->second.holders) {
    const PageRun run{oldest->first.first, oldest->first.second, oldest->second.length};
    tell(*holder, {.kind = Answer::Kind::give_back, .grant = {.run = run}});
  }
  drop_if_free(oldest);
}

void ChunkPool::tell(Member& member, Answer answer) {
  answers_[&member].push_back(std::move(answer));
  member.wake();
}

}  // namespace ferry
