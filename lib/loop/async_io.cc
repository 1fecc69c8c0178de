#include "loop/async_io.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <iterator>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "base/iovec_window.h"

namespace ferry {
namespace {

constexpr std::size_t k_drain_bytes = 16 * 1024;  // read at a time, when nobody looks at them

std::string peer_of(Channel& channel) {
  const ChannelInfo& info = channel.info();
  return info.peer.empty() ? info.scheme : info.peer;
}

std::unexpected<Error> cut_short(Channel& channel) {
  return fail(Errc::disconnected,
              "read from " + peer_of(channel) + ": the peer finished too early");
}

FdPassing& passing_of(Channel& channel) {
  FdPassing* const passing = channel.facets().fd_passing;
  assert(passing);
  return *passing;
}

std::unexpected<Error> too_many_fds(Channel& channel) {
  return fail(Errc::protocol, "read from " + peer_of(channel) + ": more than " +
                                  std::to_string(FdPassing::k_most) +
                                  " descriptors came with one message");
}

/// One blocking call on a channel that is the helper thread's for its duration. Shared by the
/// thread and the Task; the Task must not go before the thread has left the channel.
class BlockingUse {
 public:
  /// On the helper thread.
  void run(Channel& channel, const std::function<Result<void>(Channel&)>& call) {
    {
      std::lock_guard lock(mutex_);
      if (stage_ == Stage::over) return;  // given up before it began: the channel may be gone
      stage_ = Stage::inside;
    }
    Result<void> result = call(channel);
    std::lock_guard lock(mutex_);
    result_ = std::move(result);
    stage_ = Stage::over;
    left_.notify_one();
  }

  /// On the loop's thread. Afterwards the helper thread does not touch the channel any more.
  void give_up(Channel& channel) {
    std::unique_lock lock(mutex_);
    if (stage_ == Stage::inside) {
      channel.cancel();
      left_.wait(lock, [this] { return stage_ == Stage::over; });
    }
    stage_ = Stage::over;
  }

  Result<void> take_result() {
    std::lock_guard lock(mutex_);
    return std::move(result_);
  }

 private:
  enum class Stage { not_begun, inside, over };
  std::mutex mutex_;
  std::condition_variable left_;
  Stage stage_ = Stage::not_begun;
  Result<void> result_;
};

/// Gives the use up when the Task is dropped.
class UseGuard {
 public:
  UseGuard(BlockingUse& use, Channel& channel) noexcept : use_(use), channel_(channel) {}
  ~UseGuard() { use_.give_up(channel_); }
  UseGuard(const UseGuard&) = delete;
  UseGuard& operator=(const UseGuard&) = delete;

 private:
  BlockingUse& use_;
  Channel& channel_;
};

Task<void> use_blocking(EventLoop& loop, Channel& channel,
                        std::function<Result<void>(Channel&)> call) {
  auto use = std::make_shared<BlockingUse>();
  const UseGuard guard(*use, channel);
  const auto run = [use, &channel, &call] { use->run(channel, call); };
  co_await loop.on_helper_thread(run);
  co_await use->take_result();
}

Result<void> read_blocking(Channel& channel, std::span<std::byte> into) {
  while (!into.empty()) {
    const iovec piece = piece_of(into);
    const std::size_t got = FERRY_TRY(channel.read_some({&piece, 1}));
    if (got == 0) return cut_short(channel);
    into = into.subspan(got);
  }
  return {};
}

Result<void> write_blocking(Channel& channel, std::span<const std::byte> from) {
  const iovec piece = piece_of(from);
  FERRY_TRY(channel.write({&piece, 1}));
  return channel.flush();
}

Result<void> drain_blocking(Channel& channel, std::size_t max_bytes) {
  std::array<std::byte, k_drain_bytes> buffer;
  while (max_bytes > 0) {
    const iovec piece = piece_of(std::span(buffer).first(std::min(max_bytes, buffer.size())));
    const std::size_t got = FERRY_TRY(channel.read_some({&piece, 1}));
    if (got == 0) return {};
    max_bytes -= got;
  }
  return {};
}

/// What a peer may still send after our last words, before they are lost to a reset.
constexpr std::size_t k_unheard_bytes = 64 * 1024;

Task<void> say_and_finish(EventLoop& loop, Channel& channel, std::vector<std::byte> words) {
  co_await write_all(loop, channel, std::move(words));
  co_await channel.finish();
  co_await drain(loop, channel, k_unheard_bytes);
}

}  // namespace

Task<std::size_t> read_some(EventLoop& loop, Channel& channel, std::span<const iovec> into) {
  Pollable* const pollable = channel.facets().pollable;
  if (!pollable) {
    std::size_t got = 0;
    const auto read = [into, &got](Channel& c) -> Result<void> {
      got = FERRY_TRY(c.read_some(into));
      return {};
    };
    co_await use_blocking(loop, channel, read);
    co_return got;
  }
  for (;;) {
    const Pollable::Step step = co_await pollable->try_read_some(into);
    if (step.wait_for == Interest::none) co_return step.bytes;
    co_await loop.ready(pollable->fd(), step.wait_for);
  }
}

Task<void> read_exactly(EventLoop& loop, Channel& channel, std::span<std::byte> into) {
  Pollable* const pollable = channel.facets().pollable;
  if (!pollable) {
    const auto read = [into](Channel& c) { return read_blocking(c, into); };
    co_await use_blocking(loop, channel, read);
    co_return;
  }
  while (!into.empty()) {
    const iovec piece = piece_of(into);
    const std::size_t got = co_await read_some(loop, channel, std::span(&piece, 1));
    if (got == 0) co_await cut_short(channel);
    into = into.subspan(got);
  }
}

Task<void> write_all(EventLoop& loop, Channel& channel, std::vector<std::byte> from) {
  std::span<const std::byte> left = from;
  Pollable* const pollable = channel.facets().pollable;
  if (!pollable) {
    const auto write = [left](Channel& c) { return write_blocking(c, left); };
    co_await use_blocking(loop, channel, write);
    co_return;
  }
  while (!left.empty()) {
    const iovec piece = piece_of(left);
    const Pollable::Step step = co_await pollable->try_write_some({&piece, 1});
    left = left.subspan(step.bytes);
    if (step.wait_for != Interest::none) co_await loop.ready(pollable->fd(), step.wait_for);
  }
}

Task<std::vector<UniqueFd>> read_exactly_with_fds(EventLoop& loop, Channel& channel,
                                                  std::span<std::byte> into) {
  FdPassing& passing = passing_of(channel);
  std::vector<UniqueFd> fds;
  while (!into.empty()) {
    const iovec piece = piece_of(into);
    FdPassing::ReceivedStep got = co_await passing.try_read_some_with_fds({&piece, 1});
    if (got.step.wait_for != Interest::none) {
      co_await loop.ready(passing.fd(), got.step.wait_for);
      continue;
    }
    if (got.step.bytes == 0) co_await cut_short(channel);
    into = into.subspan(got.step.bytes);
    std::ranges::move(got.fds, std::back_inserter(fds));
    if (fds.size() > FdPassing::k_most) co_await too_many_fds(channel);
  }
  co_return std::move(fds);
}

Task<void> write_all_with_fds(EventLoop& loop, Channel& channel, std::vector<std::byte> from,
                              std::vector<UniqueFd> fds) {
  FdPassing& passing = passing_of(channel);
  std::vector<int> unsent;
  for (const UniqueFd& fd : fds) unsent.push_back(fd.get());
  std::span<const std::byte> left = from;
  do {
    const iovec piece = piece_of(left);
    const Pollable::Step step = co_await passing.try_write_some_with_fds({&piece, 1}, unsent);
    if (step.bytes > 0) unsent.clear();
    left = left.subspan(step.bytes);
    if (step.wait_for != Interest::none) co_await loop.ready(passing.fd(), step.wait_for);
  } while (!left.empty());
}

Task<void> finish(EventLoop& loop, Channel& channel) {
  const auto end = [](Channel& c) { return c.finish(); };
  co_await use_blocking(loop, channel, end);
}

Task<void> drain(EventLoop& loop, Channel& channel, std::size_t max_bytes) {
  Pollable* const pollable = channel.facets().pollable;
  if (!pollable) {
    const auto read = [max_bytes](Channel& c) { return drain_blocking(c, max_bytes); };
    co_await use_blocking(loop, channel, read);
    co_return;
  }
  std::vector<std::byte> buffer(k_drain_bytes);
  while (max_bytes > 0) {
    const iovec room = piece_of(std::span(buffer).first(std::min(max_bytes, buffer.size())));
    const std::size_t got = co_await read_some(loop, channel, std::span(&room, 1));
    if (got == 0) co_return;
    max_bytes -= got;
  }
}

Task<void> say_last_words(EventLoop& loop, Channel& channel, std::vector<std::byte> words) {
  constexpr std::chrono::seconds k_time{1};
  Task<void> saying = say_and_finish(loop, channel, std::move(words));
  Task<void> bounded = loop.within(Clock::now() + k_time, std::move(saying), "say last words");
  [[maybe_unused]] const Result<void> heard = co_await std::move(bounded).caught();
}

}  // namespace ferry
