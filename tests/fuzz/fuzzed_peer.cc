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

// How long the receiver may take to make an announced channel known. It bounds only what is
// explored: a peer that does not wait for the answer is refused, and that is no finding.
constexpr int k_patience_ms = 30;
// A receiver that has not answered a Hello after so long hangs.
constexpr int k_hang_ms = 15'000;

UniqueFd connect_to(const std::string& name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  name.copy(address.sun_path + 1, sizeof address.sun_path - 1);  // a leading NUL: abstract
  UniqueFd line(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto length = static_cast<::socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  demand(::connect(line.get(), reinterpret_cast<const sockaddr*>(&address), length) == 0,
         "a receiver that listens can be reached");
  return line;
}

}  // namespace

void FuzzedPeer::say(const SessionScript& script) {
  Sealer sealer;
  for (const Step& step : script.steps) {
    open(step.line);
    const Bytes bytes =
        script.seals == SessionScript::Seals::put_right ? sealer.put_right(step) : step.bytes;
    // What does not fit is lost, as on a line that is cut: the peer never waits for the receiver.
    (void)::send(lines_[step.line].get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (step.line == 0) announced_ = true;
  }
}

void FuzzedPeer::open(unsigned line) {
  if (opened_[line]) return;
  opened_[line] = true;
  if (line != 0 && announced_) wait_until_announced();
  lines_[line] = connect_to(address_);
}

void FuzzedPeer::wait_until_announced() {
  while (!heard("channels-ack") && !heard("abort") && hear_more(k_patience_ms)) {
  }
  announced_ = false;
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
    const auto frame = wire::decode_control(message);
    if (frame && wire::name_of(*frame) == frame_name) return true;
    rest = rest.subspan(message.size());
  }
  return false;
}

}  // namespace ferry::fuzz
