// Guest memory that is pinned in chunks, as it is needed.
#pragma once

#include <compare>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "ferry/memory.h"
#include "ferry/result.h"
#include "rdma/message.h"
#include "rdma/pinned.h"

namespace ferry {

/// Which chunks of a guest's memory peers may write to, with a bound on how much of it is pinned.
/// One for all channels of a session. Thread-safe.
///
/// A channel asks for a chunk on behalf of its peer. Where the bound is reached the chunk that was
/// granted longest ago goes: all who have it are told to give it back, and only when the last one
/// has is it deregistered. Who asks is served in order. Nobody waits in here: a channel that has an
/// answer is woken, and fetches it.
class ChunkPool {
 public:
  static constexpr std::uint64_t k_least_bound = 1 << 20;

  /// A channel, to the pool. Woken without the pool's mutex being anybody's concern.
  class Member {
   public:
    /// Answers are there. Thread-safe, does not block.
    virtual void wake() noexcept = 0;

   protected:
    ~Member() = default;
  };

  struct Answer {
    enum class Kind { grant, give_back, failure };
    Kind kind = Kind::grant;
    RdmaGrant grant{};  ///< a grant; of a give_back, the run alone
    Error why{};        ///< a failure
  };

  /// `most` is at least k_least_bound.
  ChunkPool(std::shared_ptr<PinningDomain> domain, GuestMemory memory, std::uint64_t most);

  bool is_of(const GuestMemory& memory) const noexcept;
  std::uint64_t chunk_bytes() const noexcept { return chunk_bytes_; }

  /// May so much be pinned here? Errc::system.
  Result<void> check_lockable(const std::string& act);

  /// The chunk that begins there, whatever the length. Errc::protocol where there is none, or the
  /// member asks for what it has or has asked for.
  Result<void> ask(Member& member, const PageRun& place);
  /// The member's peer writes there no more. Of no effect where it had no right to.
  void give_back(Member& member, const PageRun& chunk);
  std::vector<Answer> answers(Member& member);
  /// Gives back all that it has and forgets what it asked for. Once gone it is not woken.
  void leave(Member& member);

 private:
  struct Chunk {
    PinningDomain::Pin pin;
    std::uint64_t length = 0;
    std::uint64_t granted_last = 0;  // counts grants
    bool going = false;              // its holders are told to give it back
    std::set<Member*> holders;
  };
  using Place = std::pair<RegionId, std::uint64_t>;  // region, offset
  struct Wish {
    Member* member = nullptr;
    PageRun chunk{};
  };

  Result<PageRun> chunk_at(const PageRun& place) const;
  void serve();
  bool serve_first();
  void grant(Member& member, const PageRun& run, Chunk& chunk);
  void let_go_of_oldest();
  void drop_if_free(std::map<Place, Chunk>::iterator chunk);
  void tell(Member& member, Answer answer);

  const std::shared_ptr<PinningDomain> domain_;
  const GuestMemory memory_;
  const std::uint64_t most_;
  const std::uint64_t chunk_bytes_;

  std::mutex mutex_;  // guards what follows; taken with a line held, never the other way round
  std::map<Place, Chunk> chunks_;
  std::deque<Wish> wishes_;
  std::map<Member*, std::vector<Answer>> answers_;
  std::uint64_t pinned_ = 0;
  std::uint64_t grants_ = 0;
  bool is_lockable_ = false;  // was asked, by the first channel
};

}  // namespace ferry
