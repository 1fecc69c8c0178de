#include "channels/faulty.h"

#include <algorithm>
#include <cassert>
#include <condition_variable>
#include <mutex>
#include <string>
#include <utility>

#include "base/iovec_window.h"

namespace ferry {
namespace {

/// One direction's faults, and how far it has come. For the one thread that is in that direction.
class Course {
 public:
  explicit Course(const Faults& faults) : faults_(faults) {}

  bool stalls_now() const noexcept { return faults_.stall_after == passed_; }
  bool cuts_now() const noexcept { return faults_.cut_after == passed_; }
  bool flips_now() const noexcept { return faults_.flip_at == passed_; }

  /// How many bytes may go in one call, up to the next fault; at least one.
  std::size_t most_now() const noexcept {
    std::uint64_t most = faults_.most_a_call == 0 ? IovecWindow::k_all : faults_.most_a_call;
    if (flips_now()) return 1;
    for (const auto& at : {faults_.stall_after, faults_.cut_after, faults_.flip_at}) {
      if (at && *at > passed_) most = std::min(most, *at - passed_);
    }
    return most;
  }

  void pass(std::size_t bytes) noexcept { passed_ += bytes; }

 private:
  const Faults faults_;
  std::uint64_t passed_ = 0;
};

constexpr std::byte k_flipped{1};
constexpr const char* k_read = "read from ";
constexpr const char* k_write = "write to ";

class FaultyChannel final : public Channel {
 public:
  FaultyChannel(std::unique_ptr<Channel> inner, FaultyOptions options)
      : info_(inner->info()),
        inner_(std::move(inner)),
        reading_(options.reading),
        writing_(options.writing) {}

  Result<std::size_t> read_some(std::span<const iovec> into) override;
  Result<void> write(std::span<const iovec> from, Loan loan = Loan::none) override;
  Result<void> flush() override;
  Result<void> finish() override;
  void cancel(Errc why = Errc::cancelled) noexcept override;
  const ChannelInfo& info() const noexcept override { return info_; }

 private:
  using InnerPtr = std::shared_ptr<Channel>;

  Result<InnerPtr> begin(const Course& course, const char* act);
  Result<InnerPtr> inner(const char* act);
  void stall();
  void cut() noexcept;

  const ChannelInfo info_;
  std::mutex mutex_;
  std::condition_variable ended_;
  bool cancelled_ = false;  // guarded by mutex_; set once the channel within is cancelled
  // Guarded by mutex_. Shared with the calls that are in it, so that a cut in one direction does
  // not destroy it under the other. Null when the line is cut.
  InnerPtr inner_;
  Course reading_;
  Course writing_;
};

Result<std::size_t> FaultyChannel::read_some(std::span<const iovec> into) {
  InnerPtr channel = FERRY_TRY(begin(reading_, k_read));
  IovecWindow room(into);
  const auto part = room.window(reading_.most_now());
  const std::size_t bytes = FERRY_TRY(channel->read_some(part));
  if (bytes > 0 && reading_.flips_now()) *static_cast<std::byte*>(part[0].iov_base) ^= k_flipped;
  reading_.pass(bytes);
  channel.reset();  // a cut is to be the last to let go, if it can
  if (reading_.cuts_now()) cut();
  return bytes;
}

Result<void> FaultyChannel::write(std::span<const iovec> from, Loan loan) {
  IovecWindow rest(from);
  if (rest.done()) return FERRY_TRY(inner(k_write))->write({});
  while (!rest.done()) {
    InnerPtr channel = FERRY_TRY(begin(writing_, k_write));
    const auto part = rest.window(writing_.most_now());
    const std::size_t bytes = total_bytes(part);
    if (writing_.flips_now()) {
      std::byte wrong = *static_cast<const std::byte*>(part[0].iov_base) ^ k_flipped;
      const iovec piece{&wrong, 1};
      FERRY_TRY(channel->write({&piece, 1}, Loan::none));  // not the caller's memory
    } else {
      FERRY_TRY(channel->write(part, loan));
    }
    writing_.pass(bytes);
    rest.advance(bytes);
    channel.reset();
    if (writing_.cuts_now()) cut();
  }
  return {};
}

Result<void> FaultyChannel::flush() {
  const InnerPtr channel = FERRY_TRY(inner(k_write));
  return channel->flush();
}

Result<void> FaultyChannel::finish() {
  const InnerPtr channel = FERRY_TRY(begin(writing_, k_write));
  return channel->finish();
}

/// The channel within keeps the reason. It comes first: a call that was stalled goes on into it.
void FaultyChannel::cancel(Errc why) noexcept {
  InnerPtr channel;
  {
    const std::lock_guard lock(mutex_);
    channel = inner_;
  }
  if (channel) channel->cancel(why);
  const std::lock_guard lock(mutex_);
  cancelled_ = true;
  ended_.notify_all();
}

/// What comes before a call in one direction: the fault that is due, if any.
Result<FaultyChannel::InnerPtr> FaultyChannel::begin(const Course& course, const char* act) {
  if (course.stalls_now()) stall();
  if (course.cuts_now()) cut();
  return inner(act);
}

Result<FaultyChannel::InnerPtr> FaultyChannel::inner(const char* act) {
  const std::lock_guard lock(mutex_);
  if (inner_) return inner_;
  return fail(Errc::disconnected, act + info_.peer + ": the line was cut");
}

/// Woken by cancel(), and by a cut in the other direction.
void FaultyChannel::stall() {
  std::unique_lock lock(mutex_);
  ended_.wait(lock, [this] { return cancelled_ || !inner_; });
}

/// Destroys the channel within. A call that is blocked in it in the other direction is woken first,
/// and then is the last to let go of it.
void FaultyChannel::cut() noexcept {
  InnerPtr channel;
  {
    const std::lock_guard lock(mutex_);
    if (cancelled_) return;  // it has failed already, for that reason
    channel = std::move(inner_);
    ended_.notify_all();
  }
  if (channel && channel.use_count() > 1) channel->cancel(Errc::disconnected);
}

}  // namespace

std::unique_ptr<Channel> make_faulty(std::unique_ptr<Channel> inner, FaultyOptions options) {
  return std::make_unique<FaultyChannel>(std::move(inner), options);
}

}  // namespace ferry
