#include "session/greeting.h"

#include <fmt/format.h>
#include <sys/random.h>

#include <algorithm>
#include <array>
#include <cassert>

#include "loop/async_io.h"
#include "wire/limits.h"

namespace ferry {
namespace {

// What a refused peer may still send before we stop listening to it: enough for a Hello that came
// in two halves, so that the close is no reset and our reason is read.
constexpr std::size_t k_drained_bytes = 64 * 1024;

/// A message whose first bytes tell its length.
Task<std::vector<std::byte>> read_message(
    EventLoop& loop, Channel& channel,
    Result<std::size_t> (*length_of)(std::span<const std::byte>)) {
  std::vector<std::byte> message(wire::k_prologue_bytes);
  co_await read_exactly(loop, channel, std::span<std::byte>(message));
  const std::size_t length = co_await length_of(message);
  message.resize(length);
  co_await read_exactly(loop, channel,
                        std::span<std::byte>(message).subspan(wire::k_prologue_bytes));
  co_return message;
}

/// Who speaks something else than we do most often just hangs up.
Error unanswered(Error error, const ChannelInfo& info) {
  if (error.code == Errc::disconnected && error.remedy.empty()) {
    error.remedy = fmt::format("does the other side listen at {}://, too?", info.scheme);
  }
  return error;
}

Task<Greeted> connect_and_introduce(EventLoop& loop, Transport& transport, Uri to,
                                    wire::Hello hello, std::optional<wire::Secret> secret) {
  Greeted greeted;
  greeted.channel = co_await transport.connect(loop, std::move(to));
  const ChannelBinding* const binding = greeted.channel->facets().binding;
  if (secret && binding != nullptr) hello.proof = binding->prove(*secret, hello.index);
  const wire::HelloAck ack = co_await introduce(loop, *greeted.channel, hello);
  greeted.secret = ack.secret;
  greeted.features = ack.optional_features & hello.optional_features;
  co_return std::move(greeted);
}

template <std::size_t N>
std::array<std::byte, N> random_bytes() {
  std::array<std::byte, N> bytes;
  // Never cut short: at most 256 bytes are delivered whole.
  [[maybe_unused]] const ssize_t got = ::getrandom(bytes.data(), bytes.size(), 0);
  assert(got == static_cast<ssize_t>(bytes.size()));
  return bytes;
}

}  // namespace

Task<wire::Hello> read_hello(EventLoop& loop, Channel& channel) {
  const std::vector<std::byte> message = co_await read_message(loop, channel, &wire::hello_length);
  const wire::Hello hello = co_await wire::decode_hello(message);
  co_return hello;
}

Task<void> answer_hello(EventLoop& loop, Channel& channel, wire::HelloAck ack) {
  co_await write_all(loop, channel, wire::encode(ack));
}

Task<wire::HelloAck> introduce(EventLoop& loop, Channel& channel, wire::Hello hello) {
  co_await write_all(loop, channel, wire::encode(hello));
  auto message = co_await read_message(loop, channel, &wire::hello_ack_length).caught();
  if (!message) co_return std::unexpected(unanswered(std::move(message).error(), channel.info()));
  const wire::HelloAck ack = co_await wire::decode_hello_ack(*message);
  if (ack.verdict != wire::HelloAck::Verdict::accepted) {
    // To a page channel an end is no judgement of its own: why is said on the control channel.
    const bool ended =
        hello.role == wire::Role::page && ack.verdict == wire::HelloAck::Verdict::ended;
    co_await fail(
        ended ? Errc::disconnected : Errc::refused,
        fmt::format("open a channel to {}: refused: {}", channel.info().peer, ack.reason));
  }
  if (ack.session != hello.session || ack.version < hello.version_min ||
      ack.version > hello.version_max) {
    co_await fail(
        Errc::protocol,
        fmt::format("open a channel to {}: the answer is to another Hello", channel.info().peer));
  }
  if ((ack.critical_features & ~wire::k_known_critical_features) != 0) {
    co_await fail(Errc::unsupported,
                  fmt::format("open a channel to {}: the receiver demands unknown features {:#x}",
                              channel.info().peer, ack.critical_features));
  }
  co_return ack;
}

Task<Greeted> dial(EventLoop& loop, Transport& transport, Uri to, wire::Hello hello,
                   std::optional<wire::Secret> secret, Clock::time_point deadline) {
  const std::string act = "connect " + to.shown();
  Greeted greeted = co_await loop.within(
      deadline, connect_and_introduce(loop, transport, std::move(to), hello, secret), act);
  co_return std::move(greeted);
}

Task<void> turn_away(EventLoop& loop, Channel& channel, wire::HelloAck ack) {
  co_await answer_hello(loop, channel, std::move(ack));
  co_await finish(loop, channel);
  co_await drain(loop, channel, k_drained_bytes);
}

wire::HelloAck judge(const wire::Hello& hello) {
  using enum wire::HelloAck::Verdict;
  if (hello.version_min > wire::k_version_max || hello.version_max < wire::k_version_min) {
    return refusal(
        hello, version,
        fmt::format("no version in common: this side speaks {} to {}, the other {} to {}",
                    wire::k_version_min, wire::k_version_max, hello.version_min,
                    hello.version_max));
  }
  if ((hello.critical_features & ~wire::k_known_critical_features) != 0) {
    return refusal(hello, feature, fmt::format("unknown features {:#x}", hello.critical_features));
  }
  wire::HelloAck ack;
  ack.verdict = accepted;
  ack.version = std::min(hello.version_max, wire::k_version_max);
  ack.session = hello.session;
  ack.optional_features = hello.optional_features & wire::k_known_optional_features;
  return ack;
}

wire::HelloAck refusal(const wire::Hello& hello, wire::HelloAck::Verdict verdict,
                       std::string reason) {
  wire::HelloAck ack;
  ack.verdict = verdict;
  ack.session = hello.session;
  ack.reason = std::move(reason);
  return ack;
}

wire::HelloAck refusal(const Error& no_hello) {
  using enum wire::HelloAck::Verdict;
  return refusal({}, no_hello.code == Errc::unsupported ? feature : malformed, no_hello.text());
}

wire::SessionId fresh_session_id() { return random_bytes<sizeof(wire::SessionId)>(); }

wire::Secret fresh_secret() { return random_bytes<sizeof(wire::Secret)>(); }

}  // namespace ferry
