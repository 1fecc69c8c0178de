#include "session/admission.h"

#include <fmt/format.h>

#include "session/greeting.h"

namespace ferry {

using Verdict = wire::HelloAck::Verdict;

wire::HelloAck Admission::admit(const wire::Hello& hello, const ChannelBinding* binding) {
  wire::HelloAck ack = judge(hello);
  if (ack.verdict != Verdict::accepted) return ack;
  const std::scoped_lock lock(mutex_);
  if (ended_) return refusal(hello, Verdict::ended, "the session is over");
  switch (hello.role) {
    case wire::Role::control:
    case wire::Role::solo:
      return admit_control(hello, binding);
    case wire::Role::page:
      return admit_page(hello, binding);
    case wire::Role::urgent:
      break;
  }
  return refusal(
      hello, Verdict::unannounced,
      fmt::format("no channel of role {} is expected", static_cast<unsigned>(hello.role)));
}

wire::HelloAck Admission::admit_control(const wire::Hello& hello, const ChannelBinding* binding) {
  if (session_ == hello.session) {
    return refusal(hello, Verdict::unannounced, "this session has its control channel already");
  }
  if (session_) return refusal(hello, Verdict::busy, "another session is in progress");
  session_ = hello.session;
  wire::HelloAck ack = judge(hello);
  if (binding != nullptr) ack.secret = secret_ = fresh_secret();
  return ack;
}

wire::HelloAck Admission::admit_page(const wire::Hello& hello, const ChannelBinding* binding) {
  if (session_ != hello.session) {
    return refusal(hello, Verdict::stranger, "no such session");
  }
  if (!proves_its_right(hello, binding)) {
    return refusal(hello, Verdict::stranger,
                   "this channel does not prove its right to the session");
  }
  if (hello.index >= announced_.size() || !announced_[hello.index]) {
    return refusal(hello, Verdict::unannounced,
                   fmt::format("channel {} was not announced", hello.index));
  }
  if (present_[hello.index]) {
    return refusal(hello, Verdict::unannounced,
                   fmt::format("channel {} is there already", hello.index));
  }
  present_.set(hello.index);
  return judge(hello);
}

bool Admission::proves_its_right(const wire::Hello& hello, const ChannelBinding* binding) const {
  if (!secret_) return true;
  if (binding == nullptr) return false;
  const ChannelBinding::Proof wanted = binding->prove(*secret_, hello.index);
  std::byte difference{};  // all of it is looked at: how long it takes tells nothing
  for (std::size_t i = 0; i < wanted.size(); ++i) difference |= wanted[i] ^ hello.proof[i];
  return difference == std::byte{};
}

std::size_t Admission::awaited() const {
  const std::scoped_lock lock(mutex_);
  if (ended_) return 0;
  return session_ ? (announced_ & ~present_).count() : 1;
}

bool Admission::begun() const {
  const std::scoped_lock lock(mutex_);
  return session_.has_value() || ended_;
}

void Admission::withdraw(const wire::Hello& hello) {
  const std::scoped_lock lock(mutex_);
  if (session_ != hello.session) return;
  if (hello.role == wire::Role::page) {
    present_.reset(hello.index);
  } else {
    session_.reset();
    secret_.reset();
  }
}

Result<void> Admission::announce(std::uint16_t first, std::uint16_t count) {
  const std::scoped_lock lock(mutex_);
  if (first >= announced_.size() || count > announced_.size() - first) {
    return fail(Errc::protocol, fmt::format("channels {} to {}: there are at most {}", first,
                                            first + count - 1, announced_.size()));
  }
  for (std::size_t index = first; index < std::size_t{first} + count; ++index) {
    if (announced_[index]) {
      return fail(Errc::protocol, fmt::format("channel {} was announced before", index));
    }
    announced_.set(index);
  }
  return {};
}

Result<void> Admission::reopen(std::uint16_t index) {
  const std::scoped_lock lock(mutex_);
  if (index >= present_.size() || !present_[index]) {
    return fail(Errc::protocol, fmt::format("replace channel {}: it is not there", index));
  }
  present_.reset(index);
  return {};
}

void Admission::end() {
  const std::scoped_lock lock(mutex_);
  ended_ = true;
}

}  // namespace ferry
