#include "rdma/line.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <chrono>
#include <ctime>
#include <utility>

#include "rdma/wait_set.h"

namespace ferry {
namespace {

// Once the connection is gone, for the device to give back the buffers that nothing will come to.
constexpr int k_last_words_ms = 1000;
constexpr std::size_t k_at_once = 16;
// Of the processor, in one post. A device needs a microsecond to be told; one that is software does
// its work meanwhile, milliseconds for each MiB.
constexpr std::chrono::microseconds k_slow_post{500};
// Words that a peer without credits for us makes us keep: more than there are regions, or chunks
// that are pinned at a time.
constexpr std::size_t k_most_to_say = 64 * 1024;

Result<UniqueFd> make_event_fd() {
  UniqueFd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd) return fail_sys(Errc::system, errno, "make an eventfd");
  return fd;
}

void raise(const UniqueFd& event) noexcept {
  const std::uint64_t one = 1;
  // It cannot fail but when it is raised so often that it is full.
  [[maybe_unused]] const ssize_t written = ::write(event.get(), &one, sizeof one);
}

void lower(const UniqueFd& event) noexcept {
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t bytes = ::read(event.get(), &count, sizeof count);
}

bool takes_a_credit(RdmaWord word) noexcept {
  return word != RdmaWord::credit && word != RdmaWord::finish;
}

Error cut() { return {Errc::disconnected, 0, "the line was cut", {}}; }

/// What this thread has used of the processor.
std::chrono::nanoseconds worked() noexcept {
  timespec used{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  return std::chrono::seconds(used.tv_sec) + std::chrono::nanoseconds(used.tv_nsec);
}

constexpr short k_gone = POLLERR | POLLHUP | POLLNVAL;
Error device_gone() { return {Errc::disconnected, 0, "the RDMA device is gone", {}}; }

Error error_of(const Completion& how) {
  using enum Completion::Fate;
  switch (how.fate) {
    case no_answer:
      return {Errc::disconnected, 0, "the peer's device does not answer any more", {}};
    case no_room:
      return {Errc::protocol, 0, "the peer had no room for a message that it had asked for", {}};
    case not_allowed:
      // It may end as any peer may, and say why on another channel: this is how a line notices.
      return {
          Errc::disconnected, 0, "the peer does not let us write there (remote access error)", {}};
    case failed:
      return {Errc::disconnected, 0, "the device says: " + how.why, {}};
    default:
      return cut();
  }
}

/// How many bytes of `from` went to `at`.
std::uint32_t copy(IovecWindow& from, std::byte* at, std::size_t room) {
  std::size_t copied = 0;
  while (!from.done() && copied < room) {
    std::size_t bytes = 0;
    for (const iovec& piece : from.window(room - copied)) {
      std::copy_n(static_cast<const std::byte*>(piece.iov_base), piece.iov_len,
                  at + copied + bytes);
      bytes += piece.iov_len;
    }
    from.advance(bytes);
    copied += bytes;
  }
  return static_cast<std::uint32_t>(copied);
}

}  // namespace

RdmaLine::RdmaLine(std::unique_ptr<Connection> connection, std::shared_ptr<PinningDomain> domain,
                   RdmaBuffers buffers)
    : connection_(std::move(connection)),
      domain_(std::move(domain)),
      buffers_(std::move(buffers)) {}

RdmaLine::~RdmaLine() {
  if (pair_) connection_->disconnect();
}

Result<std::unique_ptr<RdmaLine>> RdmaLine::create(std::unique_ptr<Connection> connection,
                                                   std::shared_ptr<PinningDomain> domain,
                                                   const std::string& act) {
  std::unique_ptr<RdmaLine> line(
      new RdmaLine(std::move(connection), std::move(domain), FERRY_TRY(RdmaBuffers::create())));
  FERRY_TRY(line->set_up(act));
  return line;
}

Result<void> RdmaLine::set_up(const std::string& act) {
  cancelled_fd_ = FERRY_TRY(make_event_fd());
  leader_fd_ = FERRY_TRY(make_event_fd());
  told_fd_ = FERRY_TRY(make_event_fd());
  pin_ = FERRY_TRY(domain_->pin_alone(buffers_.memory(), DeviceMay::receive, act));
  const QueueLengths lengths{.sending = RdmaBuffers::k_slots + RdmaBuffers::k_words + k_writes,
                             .receiving = RdmaBuffers::k_receives};
  pair_ = FERRY_TRY(connection_->make_queue_pair(domain_->domain(), lengths));
  for (std::uint32_t buffer = 0; buffer < RdmaBuffers::k_receives; ++buffer) {
    const Segment room{.at = buffers_.receive(buffer),
                       .length = RdmaBuffers::k_message_bytes,
                       .key = pin_->local_key()};
    FERRY_TRY(pair_->post_receive(buffer, room));
  }
  all_ = FERRY_TRY(
      make_wait_set({pair_->fd(), connection_->fd(), cancelled_fd_.get(), told_fd_.get()}));
  return {};
}

RdmaGreeting RdmaLine::greeting() noexcept {
  return {.buffers = RdmaBuffers::k_credits, .message_bytes = RdmaBuffers::k_message_bytes};
}

Result<void> RdmaLine::begin(const RdmaGreeting& peer) {
  const Held held = hold();
  peer_ = peer;
  credits_ = peer.buffers;
  return pair_->let_peer(QueuePair::PeerMay::only_send);
}

// What comes.

std::size_t RdmaLine::take(const Held&, IovecWindow& into) {
  std::size_t taken = 0;
  while (!arrived_.empty() && !into.done()) {
    Arrived& first = arrived_.front();
    const std::byte* from = buffers_.receive(first.buffer) + first.begin;
    const auto room = into.window(first.end - first.begin);
    std::size_t bytes = 0;
    for (const iovec& piece : room) {
      std::copy_n(from + bytes, piece.iov_len, static_cast<std::byte*>(piece.iov_base));
      bytes += piece.iov_len;
    }
    into.advance(bytes);
    first.begin += static_cast<std::uint32_t>(bytes);
    taken += bytes;
    if (first.begin < first.end) break;
    give_back(first.buffer, RdmaWord::data);
    arrived_.pop_front();
  }
  speak();
  return taken;
}

/// Posts the buffer again. The peer hears of it with the next message, or by a word of its own.
void RdmaLine::give_back(std::uint32_t buffer, RdmaWord word) {
  if (receiving_ended_) return;
  const Segment room{.at = buffers_.receive(buffer),
                     .length = RdmaBuffers::k_message_bytes,
                     .key = pin_->local_key()};
  if (auto posted = pair_->post_receive(buffer, room); !posted) return fail(posted.error());
  if (takes_a_credit(word)) ++owed_;
}

bool RdmaLine::reap_receives(const Held& held) {
  std::array<Completion, k_at_once> found;
  bool any = false;
  while (!receiving_ended_) {
    const auto count = pair_->poll(QueuePair::Side::receiving, found);
    if (!count) fail(count.error());
    if (!count || *count == 0) break;
    any = true;
    for (std::size_t i = 0; i < *count && !receiving_ended_; ++i) {
      // They come in their order: behind one that failed there is nothing.
      if (found[i].fate != Completion::Fate::done) {
        receiving_ended_ = true;
      } else if (auto heard = hear(held, static_cast<std::uint32_t>(found[i].id), found[i]);
                 !heard) {
        fail(std::move(heard).error());
      }
    }
  }
  return any;
}

Result<void> RdmaLine::hear(const Held& held, std::uint32_t buffer, const Completion& received) {
  const std::span<const std::byte> message(buffers_.receive(buffer), received.bytes);
  const RdmaHeader header = FERRY_TRY(decode_header(message));
  if (header.credits > peer_.buffers - std::min<std::uint32_t>(credits_, peer_.buffers)) {
    return ferry::fail(Errc::protocol, "the peer returns more credits than it gave");
  }
  credits_ += header.credits;
  if (header.word == RdmaWord::data && header.length > 0) {
    if (finished_) return ferry::fail(Errc::protocol, "the peer goes on after its finish");
    arrived_.push_back({.buffer = buffer,
                        .begin = RdmaHeader::k_bytes,
                        .end = static_cast<std::uint32_t>(received.bytes)});
    return {};
  }
  FERRY_TRY(hear_word(held, header, message.subspan(RdmaHeader::k_bytes)));
  give_back(buffer, header.word);
  return {};
}

Result<void> RdmaLine::hear_word(const Held& held, const RdmaHeader& header,
                                 std::span<const std::byte> payload) {
  switch (header.word) {
    case RdmaWord::data:
    case RdmaWord::credit:
      return {};
    case RdmaWord::finish:
      finished_ = true;
      return {};
    default:
      if (rights_ == nullptr) return ferry::fail(Errc::protocol, "rights of nobody");
      return rights_->hear(held, header.word, payload);
  }
}

// What goes.

std::size_t RdmaLine::give(const Held&, IovecWindow& from) {
  const std::size_t room =
      std::min(RdmaBuffers::k_message_bytes, peer_.message_bytes) - RdmaHeader::k_bytes;
  speak();
  if (!all_said()) return 0;
  std::array<SendRequest, RdmaBuffers::k_slots> batch;
  std::size_t count = 0;
  std::size_t given = 0;
  while (!from.done() && credits_ > 0 && count < batch.size() && buffers_.has_slot(ended_)) {
    SendRequest& request = batch[count];
    request.id = posted_ + ++count;
    request.signalled = buffers_.signals_slot() ? Signalled::yes : Signalled::no;
    std::byte* const at = buffers_.take_slot(request.id);
    const std::uint32_t length = copy(from, at + RdmaHeader::k_bytes, room);
    encode({.word = RdmaWord::data, .credits = credits_to_return(), .length = length}, at);
    request.from = {.at = at,
                    .length = static_cast<std::uint32_t>(RdmaHeader::k_bytes) + length,
                    .key = pin_->local_key()};
    --credits_;
    given += length;
  }
  post(std::span(batch).first(count));
  return given;
}

std::uint16_t RdmaLine::credits_to_return() noexcept {
  return static_cast<std::uint16_t>(std::exchange(owed_, 0));
}

void RdmaLine::say_finish(const Held&) {
  to_say_.push_front({RdmaWord::finish, {}});
  speak();
  if (!to_say_.empty()) nudge();
}

void RdmaLine::say(const Held&, RdmaWord word, std::vector<std::byte> payload) {
  assert(payload.size() <= RdmaBuffers::k_word_bytes - RdmaHeader::k_bytes);
  if (to_say_.size() == k_most_to_say) {
    return fail({Errc::protocol, 0, "the peer asks more than it lets us answer", {}});
  }
  to_say_.push_back({word, std::move(payload)});
  speak();
  if (!to_say_.empty()) nudge();  // whoever waits has now to wait for its turn, too
}

/// Whatever can be said now. Words about rights come before bytes that are given later.
void RdmaLine::speak() {
  if (broken_) return;
  while (!to_say_.empty() && buffers_.has_word(ended_) &&
         (credits_ > 0 || !takes_a_credit(to_say_.front().word))) {
    const Word next = std::move(to_say_.front());
    to_say_.pop_front();
    if (takes_a_credit(next.word)) --credits_;
    const std::uint64_t number = post_word(next.word, next.payload);
    if (next.word == RdmaWord::finish) finish_ = number;
  }
  if (owes_a_word() && buffers_.has_word(ended_)) post_word(RdmaWord::credit, {});
}

std::uint64_t RdmaLine::post_word(RdmaWord word, std::span<const std::byte> payload) {
  SendRequest request;
  request.id = posted_ + 1;
  request.signalled = Signalled::yes;
  std::byte* const at = buffers_.take_word(request.id);
  encode({.word = word,
          .credits = credits_to_return(),
          .length = static_cast<std::uint32_t>(payload.size())},
         at);
  std::ranges::copy(payload, at + RdmaHeader::k_bytes);
  request.from = {.at = at,
                  .length = static_cast<std::uint32_t>(RdmaHeader::k_bytes + payload.size()),
                  .key = pin_->local_key()};
  post({&request, 1});
  return request.id;
}

std::uint32_t RdmaLine::room_for_writes(const Held&) const noexcept {
  const auto ended = std::ranges::upper_bound(writes_, ended_) - writes_.begin();
  return k_writes - static_cast<std::uint32_t>(writes_.size()) + static_cast<std::uint32_t>(ended);
}

std::uint64_t RdmaLine::post_writes(const Held&, std::span<SendRequest> writes) {
  assert(!writes.empty());
  while (!writes_.empty() && writes_.front() <= ended_) writes_.pop_front();
  std::uint64_t number = posted_;
  for (SendRequest& write : writes) {
    write.kind = SendRequest::Kind::write;
    write.id = ++number;
    writes_.push_back(number);
  }
  writes.back().signalled = Signalled::yes;
  post(writes);
  return number;
}

void RdmaLine::post(std::span<const SendRequest> requests) {
  if (requests.empty()) return;
  posted_ += requests.size();
  if (poster_) return poster_->post(requests);
  post_here(requests);
}

/// Where that takes long, the next ones are posted by a thread of their own.
void RdmaLine::post_here(std::span<const SendRequest> requests) {
  const auto worked_before = worked();
  if (auto posted = pair_->post(requests); !posted) return fail(std::move(posted).error());
  if (worked() - worked_before < k_slow_post) return;
  auto poster = Poster::start(*pair_, [this](Error why) {
    const Held held = hold();
    fail(std::move(why));
  });
  if (poster) poster_ = *std::move(poster);  // else it goes on as slowly
}

bool RdmaLine::reap_sends() {
  std::array<Completion, k_at_once> found;
  bool any = false;
  for (;;) {
    const auto count = pair_->poll(QueuePair::Side::sending, found);
    if (!count) fail(count.error());
    if (!count || *count == 0) return any;
    any = true;
    for (const Completion& one : std::span(found).first(*count)) {
      if (one.fate != Completion::Fate::done) {
        send_failed(one);
      } else if (one.id > ended_ && one.id <= posted_) {
        ended_ = one.id;
      }
    }
  }
}

// How it ends.

/// What had arrived before can be read: the buffers come back by themselves.
void RdmaLine::send_failed(const Completion& how) {
  if (!broken_) broken_ = error_of(how);
}

/// On this side: nothing that the device says is of use any more.
void RdmaLine::fail(Error why) {
  if (!broken_) broken_ = std::move(why);
  receiving_ended_ = true;
  connection_->disconnect();
  tell_others();
}

void RdmaLine::break_off(const Held&, Error why) { fail(std::move(why)); }

void RdmaLine::hear_connection(short ready) {
  if ((ready & k_gone) != 0) return fail(device_gone());
  for (;;) {
    const auto event = connection_->next_event();
    if (!event) return fail(event.error());
    if (!*event) return;
    if ((*event)->kind == ConnectionEvent::Kind::disconnected) {
      hung_up_ = true;
      connection_->disconnect();  // the device then gives back the buffers, and says so
    } else if ((*event)->kind == ConnectionEvent::Kind::device_removed) {
      fail(device_gone());
    }
  }
}

void RdmaLine::cancel(Errc why) noexcept {
  cancelled_.give(why);
  raise(cancelled_fd_);
}

void RdmaLine::nudge() noexcept {
  raise(leader_fd_);
  raise(told_fd_);
}

// Whose turn it is.

void RdmaLine::pump(const Held& held) {
  const bool received = reap_receives(held);
  const bool sent = reap_sends();
  // Now that what was sent has told how it failed.
  if (receiving_ended_ && !broken_) broken_ = cut();
  if (rights_ != nullptr && !broken_) rights_->look_again(held);
  speak();
  if (received || sent) tell_others();
}

void RdmaLine::tell_others() {
  changed_.notify_all();
  if (leading_) raise(leader_fd_);
  if (somebody_told_is_ready()) raise(told_fd_);
}

void RdmaLine::arm(Also also) {
  const bool sends = also == Also::ends_of_requests || wait_for_ends_ > 0 || told_writing_ ||
                     !to_say_.empty() || owes_a_word();
  if (!armed_receiving_) {
    armed_receiving_ = true;
    if (auto armed = pair_->arm(QueuePair::Side::receiving); !armed) fail(armed.error());
  }
  if (sends && !armed_sending_) {
    armed_sending_ = true;
    if (auto armed = pair_->arm(QueuePair::Side::sending); !armed) fail(armed.error());
  }
}

void RdmaLine::lead(Held& held) {
  std::array<pollfd, 4> fds{};
  const std::array<int, 4> numbers{leader_fd_.get(), cancelled_fd_.get(), pair_->fd(),
                                   connection_->fd()};
  for (std::size_t i = 0; i < fds.size(); ++i) {
    fds[i] = {.fd = numbers[i], .events = POLLIN, .revents = 0};
  }
  const int most = hung_up_ ? k_last_words_ms : -1;
  leading_ = true;
  held.unlock();
  const int ready = ::poll(fds.data(), fds.size(), most);
  held.lock();
  leading_ = false;
  if (ready == 0) receiving_ended_ = true;
  if (fds[0].revents != 0) lower(leader_fd_);
  if (fds[2].revents != 0) hear_device(fds[2].revents);
  if (fds[3].revents != 0) hear_connection(fds[3].revents);
  changed_.notify_all();
}

void RdmaLine::take_events() {
  std::array<pollfd, 2> fds{};
  fds[0] = {.fd = pair_->fd(), .events = POLLIN, .revents = 0};
  fds[1] = {.fd = connection_->fd(), .events = POLLIN, .revents = 0};
  ::poll(fds.data(), fds.size(), 0);
  if (fds[0].revents != 0) hear_device(fds[0].revents);
  if (fds[1].revents != 0) hear_connection(fds[1].revents);
  if (!somebody_told_is_ready()) lower(told_fd_);
}

void RdmaLine::hear_device(short ready) {
  armed_receiving_ = false;
  armed_sending_ = false;
  if (auto taken = pair_->take_events(); !taken) return fail(std::move(taken).error());
  if ((ready & k_gone) != 0) fail(device_gone());
}

}  // namespace ferry
