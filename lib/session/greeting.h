// The first words on a channel, as Tasks on the loop.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "ferry/event_loop.h"
#include "ferry/transport.h"
#include "wire/hello.h"

namespace ferry {

// `channel` outlives the Task.

/// How long a peer may take for its Hello, or for the answer to ours.
inline constexpr std::chrono::seconds k_greeting_time{10};

Task<wire::Hello> read_hello(EventLoop& loop, Channel& channel);
Task<void> answer_hello(EventLoop& loop, Channel& channel, wire::HelloAck ack);
/// Says no, and reads on until the peer has ended too, so that it reads why and not a reset. The
/// caller bounds the time.
Task<void> turn_away(EventLoop& loop, Channel& channel, wire::HelloAck ack);

/// Says Hello and waits for the answer. Errc::refused, with the peer's reason, where it is no;
/// Errc::disconnected where a session in progress has ended there meanwhile.
Task<wire::HelloAck> introduce(EventLoop& loop, Channel& channel, wire::Hello hello);

struct Greeted {
  std::unique_ptr<Channel> channel;
  std::optional<wire::Secret> secret;  ///< of an encrypted session, from its control channel
  std::uint32_t features = 0;          ///< optional ones, that the peer knows as well
};

/// Connects to `to` and introduces itself there, all of it before `deadline`. With the session's
/// secret, an encrypted channel proves its right to the session.
Task<Greeted> dial(EventLoop& loop, Transport& transport, Uri to, wire::Hello hello,
                   std::optional<wire::Secret> secret, Clock::time_point deadline);

/// The answer to a Hello whose version and features are to be judged, and nothing else yet.
wire::HelloAck judge(const wire::Hello& hello);
wire::HelloAck refusal(const wire::Hello& hello, wire::HelloAck::Verdict verdict,
                       std::string reason);

/// The answer to who said no Hello: how reading it failed.
wire::HelloAck refusal(const Error& no_hello);

wire::SessionId fresh_session_id();
wire::Secret fresh_secret();

}  // namespace ferry
