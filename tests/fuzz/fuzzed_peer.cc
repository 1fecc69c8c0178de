#include "tests/fuzz/fuzzed_peer.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>

#include "wire/control.h"
#include "wire/hello.h"

namespace ferry::fuzz {
namespace {

// How long the peer waits at a time for an answer that an honest one would wait for.
constexpr int k_step_ms = 5;
// A receiver that has not answered a Hello after so long hangs.
constexpr int k_hang_ms = 15'000;

UniqueFd connect_to(const std::string& name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  name.copy(address.sun_path + 1, sizeof address.sun_path - 1);  // a leading NUL: abstract
  UniqueFd line(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto length = static_cast<::socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  // A receiver whose session has failed listens no more.
  if (::connect(line.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0) line.reset();
  return line;
}

std::string_view name_of(std::span<const std::byte> message) {
  const auto frame = wire::decode_control(message);
  return frame ? wire::name_of(*frame) : std::string_view();
}

}  // namespace

void FuzzedPeer::say(const SessionScript& script) {
  Sealer sealer;
  for (const Step& step : script.steps) {
    const Bytes bytes =
        script.seals == SessionScript::Seals::put_right ? sealer.put_right(step) : step.bytes;
    if (const auto answer = awaited_before(step.line, bytes); !answer.empty()) wait_for(answer);
    if (!lines_[step.line]) lines_[step.line] = connect_to(address_);
    // What does not fit is lost, as on a line that is cut: the peer never waits for the receiver.
    (void)::send(lines_[step.line].get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (name_of(bytes) == "commit") wait_for("started");
  }
}

/// The answer that an honest peer hears before it goes on with `bytes`; empty where it need not.
std::string_view FuzzedPeer::awaited_before(unsigned line, const Bytes& bytes) const {
  if (!lines_[0]) return {};
  if (line != 0 && !lines_[line]) return "channels-ack";
  const std::string_view name = name_of(bytes);
  if (name == "prepare") return "round-ack";
  if (name == "commit") return "ready";
  const bool packet = ByteReader(bytes).u32() == wire::k_packet_form.magic;
  return line == 0 && packet ? "layout-ack" : "";
}

void FuzzedPeer::wait_for(std::string_view answer) {
  while (!heard(answer) && !heard("abort") && patience_ms_ > 0) {
    if (hear_more(k_step_ms)) continue;
    patience_ms_ -= k_step_ms;
  }
}

bool FuzzedPeer::end(SessionScript::Ending ending) {
  for (unsigned line = 0; line < k_lines; ++line) {
    if (!lines_[line]) continue;
    if (line != 0 && ending == SessionScript::Ending::cut) {
      lines_[line].reset();
    } else {
      ::shutdown(lines_[line].get(), SHUT_WR);
    }
  }
  if (!lines_[0]) return false;
  while (!answered() && hear_more(k_hang_ms)) {
  }
  return admitted();
}

/// False at the end, or when nothing came.
bool FuzzedPeer::hear_more(int timeout_ms) {
  pollfd wanted{.fd = lines_[0].get(), .events = POLLIN, .revents = 0};
  if (::poll(&wanted, 1, timeout_ms) != 1) {
    demand(timeout_ms != k_hang_ms, "a Hello is answered, or the line ends");
    return false;
  }
  std::array<std::byte, 4096> piece;
  const ssize_t got = ::recv(lines_[0].get(), piece.data(), piece.size(), 0);
  if (got <= 0) return false;
  heard_.insert(heard_.end(), piece.begin(), piece.begin() + got);
  return true;
}

/// The first message that was heard; empty where it has not come whole.
std::span<const std::byte> FuzzedPeer::first_message(std::span<const std::byte> from) {
  ByteReader prologue(from);
  prologue.u32();
  const std::size_t length = prologue.u32();
  return prologue.ok() && length <= from.size() ? from.first(length) : std::span<const std::byte>();
}

bool FuzzedPeer::answered() const { return !first_message(heard_).empty(); }

bool FuzzedPeer::admitted() const {
  const auto ack = wire::decode_hello_ack(first_message(heard_));
  return ack && ack->verdict == wire::HelloAck::Verdict::accepted;
}

bool FuzzedPeer::heard(std::string_view frame_name) const {
  std::span<const std::byte> rest = heard_;
  for (auto message = first_message(rest); !message.empty(); message = first_message(rest)) {
    if (name_of(message) == frame_name) return true;
    rest = rest.subspan(message.size());
  }
  return false;
}

}  // namespace ferry::fuzz
