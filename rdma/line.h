// What a channel over RDMA is made of: one connection, its buffers, and whose turn it is to wait.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/cancel_reason.h"
#include "base/iovec_window.h"
#include "ferry/result.h"
#include "ferry/unique_fd.h"
#include "rdma/buffers.h"
#include "rdma/message.h"
#include "rdma/pinned.h"
#include "rdma/poster.h"
#include "rdma/verbs.h"

namespace ferry {

/// Hears what the peer says of rights to write. Called with the line held, by whichever thread is
/// in a call of the line; does not wait.
class RightsListener {
 public:
  using Held = std::unique_lock<std::mutex>;
  virtual Result<void> hear(const Held& held, RdmaWord word,
                            std::span<const std::byte> payload) = 0;
  /// Something may have changed that it was waiting for: its own requests, or another line.
  virtual void look_again(const Held& held) = 0;

 protected:
  ~RightsListener() = default;
};

/// Bytes and words to the peer and from it, by messages and credits, and writes into its memory.
///
/// One mutex guards all of it; it is held for computing and for calls that do not wait, never for a
/// wait. Whoever has to wait says for what, as a condition over the line. The first one waits on
/// the device's descriptors for all (it leads), the others on a condition variable; when something
/// has come all look at their conditions, and if the leader leaves, another one leads. So a writer
/// gets the credits that a reader's wait has brought, and the other way round, and nothing is
/// polled in a loop.
class RdmaLine {
 public:
  /// Proof that the line is held.
  using Held = std::unique_lock<std::mutex>;

  /// Requests that write to the peer's memory, at most, which have not ended.
  static constexpr std::uint32_t k_writes = 64;

  /// Buffers are registered, and receives posted, so that the peer may begin. `act` begins errors.
  static Result<std::unique_ptr<RdmaLine>> create(std::unique_ptr<Connection> connection,
                                                  std::shared_ptr<PinningDomain> domain,
                                                  const std::string& act);
  /// Tells the peer nothing but that the connection is gone.
  ~RdmaLine();
  RdmaLine(const RdmaLine&) = delete;
  RdmaLine& operator=(const RdmaLine&) = delete;

  /// What the peer is to be told. Before begin().
  static RdmaGreeting greeting() noexcept;
  Connection& connection() noexcept { return *connection_; }
  PinningDomain& domain() noexcept { return *domain_; }
  /// The connection stands, and the peer has said this.
  Result<void> begin(const RdmaGreeting& peer);
  /// Who hears of rights: at most one, which outlives the line's use.
  void tell_rights(RightsListener* listener) { rights_ = listener; }

  Held hold() { return Held(mutex_); }

  // With the line held.

  bool readable() const noexcept { return !arrived_.empty() || finished_ || receiving_ended_; }
  /// Words that wait for their turn come before bytes.
  bool writable() const noexcept {
    return broken_ || (all_said() && credits_ > 0 && buffers_.has_slot(ended_));
  }
  /// Has every word gone that there was to say?
  bool all_said() const noexcept { return to_say_.empty(); }
  /// Has the peer said its finish, and is all before it taken?
  bool at_finish() const noexcept { return arrived_.empty() && finished_; }
  /// Why nothing more can be sent, or received once all is taken that has come.
  const std::optional<Error>& broken() const noexcept { return broken_; }
  bool has_arrived() const noexcept { return !arrived_.empty(); }

  /// Copies what has arrived; at least a byte, where there is any and room.
  std::size_t take(const Held& held, IovecWindow& into);
  /// Copies and posts as much as there are credits and buffers for.
  std::size_t give(const Held& held, IovecWindow& from);
  /// Queues the finish, which needs no credit.
  void say_finish(const Held& held);
  /// Has it arrived at the peer's device?
  bool finish_has_arrived() const noexcept { return finish_ != 0 && has_ended(finish_); }
  /// Queues a word about rights, to be sent in its turn.
  void say(const Held& held, RdmaWord word, std::vector<std::byte> payload);
  /// Begins to write to the peer's memory; at most `room_for_writes()` requests. The number of the
  /// last one.
  std::uint64_t post_writes(const Held& held, std::span<SendRequest> writes);
  std::uint32_t room_for_writes(const Held& held) const noexcept;
  bool has_ended(std::uint64_t request) const noexcept { return request <= ended_; }
  Result<void> let_peer(const Held&, QueuePair::PeerMay may) { return pair_->let_peer(may); }
  /// The peer has said what it must not: nothing more is believed.
  void break_off(const Held& held, Error why);

  /// Does what there is to do, and asks no descriptor that is not known to be ready.
  void pump(const Held& held);

  /// What else than messages from the peer a wait is for.
  enum class Also { nothing, ends_of_requests };
  /// Blocks until `ready()` holds (asked with the line held) or cancel() was called.
  template <class Ready>
  void wait(Held& held, Also also, Ready ready);

  // Without blocking, for a loop.

  enum class Direction { reading, writing };
  /// The readiness of fd() to come is for this direction, too; asks once more before. Whoever was
  /// told to wait calls again when fd() is readable.
  template <class Ready>
  bool ready_or_told(const Held& held, Direction direction, Ready ready);
  int fd() const noexcept { return all_.get(); }

  // From anywhere, without the line.

  void cancel(Errc why) noexcept;
  const CancelReason& cancelled() const noexcept { return cancelled_; }
  /// Makes whoever waits look again.
  void nudge() noexcept;

 private:
  RdmaLine(std::unique_ptr<Connection> connection, std::shared_ptr<PinningDomain> domain,
           RdmaBuffers buffers);
  Result<void> set_up(const std::string& act);

  bool reap_receives(const Held& held);
  bool reap_sends();
  Result<void> hear(const Held& held, std::uint32_t buffer, const Completion& received);
  Result<void> hear_word(const Held& held, const RdmaHeader& header,
                         std::span<const std::byte> payload);
  void give_back(std::uint32_t buffer, RdmaWord word);
  void send_failed(const Completion& how);
  void fail(Error why);
  void speak();
  bool owes_a_word() const noexcept { return owed_ >= RdmaBuffers::k_credits / 2; }
  std::uint64_t post_word(RdmaWord word, std::span<const std::byte> payload);
  void post(std::span<const SendRequest> requests);
  void post_here(std::span<const SendRequest> requests);
  std::uint16_t credits_to_return() noexcept;
  void tell_others();

  void arm(Also also);
  void lead(Held& held);
  void take_events();
  void hear_device(short ready);
  void hear_connection(short ready);
  bool somebody_told_is_ready() const noexcept {
    return (told_reading_ && readable()) || (told_writing_ && writable());
  }

  const std::unique_ptr<Connection> connection_;
  const std::shared_ptr<PinningDomain> domain_;
  RdmaBuffers buffers_;
  PinningDomain::Pin pin_;  // of buffers_
  std::unique_ptr<QueuePair> pair_;
  UniqueFd cancelled_fd_;  // readable once cancelled
  UniqueFd leader_fd_;     // readable when the leader is to look again
  UniqueFd told_fd_;       // readable when a loop is to try again
  UniqueFd all_;           // any of the above, but the leader's, or the device
  CancelReason cancelled_;
  RightsListener* rights_ = nullptr;

  // Guards what follows, and the calls of pair_ and connection_, but for those of poster_.
  std::mutex mutex_;
  std::condition_variable changed_;

  struct Arrived {
    std::uint32_t buffer = 0;
    std::uint32_t begin = 0;
    std::uint32_t end = 0;
  };
  struct Word {
    RdmaWord word = RdmaWord::data;
    std::vector<std::byte> payload;
  };
  std::deque<Arrived> arrived_;  // bytes of the channel, in the buffers where they came
  std::deque<Word> to_say_;
  RdmaGreeting peer_{};
  std::uint32_t credits_ = 0;  // messages that the peer has buffers for
  std::uint32_t owed_ = 0;     // buffers that were posted again and that the peer has not heard of
  std::uint64_t posted_ = 0;   // requests, which are numbered from 1
  std::uint64_t ended_ = 0;    // all up to this one have
  std::uint64_t finish_ = 0;   // the request that says it
  std::deque<std::uint64_t> writes_;  // numbers of those that may not have ended
  bool finished_ = false;             // the peer
  bool receiving_ended_ = false;      // nothing more will come
  bool hung_up_ = false;              // the connection manager says so
  std::optional<Error> broken_;

  bool leading_ = false;  // somebody waits on the descriptors, for all
  bool armed_receiving_ = false;
  bool armed_sending_ = false;
  unsigned wait_for_ends_ = 0;  // how many wait for ends of requests
  bool told_reading_ = false;   // a loop waits for fd()
  bool told_writing_ = false;

  std::unique_ptr<Poster> poster_;  // where the device is slow to take requests; goes first
};

template <class Ready>
void RdmaLine::wait(Held& held, Also also, Ready ready) {
  const auto over = [&] {
    pump(held);
    return ready() || cancelled_.given();
  };
  if (over()) return;
  if (also == Also::ends_of_requests) ++wait_for_ends_;
  for (;;) {
    arm(also);
    if (over()) break;
    if (leading_) {
      changed_.wait(held);
    } else {
      lead(held);
    }
    if (over()) break;
  }
  if (also == Also::ends_of_requests) --wait_for_ends_;
  changed_.notify_all();  // one of them may have to lead now
}

template <class Ready>
bool RdmaLine::ready_or_told(const Held& held, Direction direction, Ready ready) {
  bool& told = direction == Direction::reading ? told_reading_ : told_writing_;
  told = false;
  pump(held);
  if (ready() || cancelled_.given()) return true;
  take_events();
  arm(direction == Direction::writing ? Also::ends_of_requests : Also::nothing);
  told = true;
  pump(held);
  if (!ready() && !cancelled_.given()) return false;
  told = false;
  return true;
}

}  // namespace ferry
