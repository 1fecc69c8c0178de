// The other end of a session's lines, which says what a script has.
#pragma once

#include <array>
#include <span>
#include <string>
#include <string_view>

#include "ferry/unique_fd.h"
#include "tests/fuzz/session_script.h"

namespace ferry::fuzz {

/// Speaks to a receiver at an abstract UNIX address. A step's line connects when it is first
/// needed. One thread.
class FuzzedPeer {
 public:
  explicit FuzzedPeer(std::string address) : address_(std::move(address)) {}

  void say(const SessionScript& script);
  /// Ends all lines, as the script has it, and reads the control channel's answer to its Hello.
  /// Did it let us in? Then the session ends by itself.
  bool end(SessionScript::Ending ending);

 private:
  std::string_view awaited_before(unsigned line, const Bytes& bytes) const;
  void wait_for(std::string_view answer);
  bool hear_more(int timeout_ms);
  static std::span<const std::byte> first_message(std::span<const std::byte> from);
  bool heard(std::string_view frame_name) const;
  bool answered() const;
  bool admitted() const;

  const std::string address_;
  std::array<UniqueFd, k_lines> lines_;
  // It bounds only what is explored: a peer that does not wait for an answer is refused, or fails,
  // and that is no finding.
  int patience_ms_ = 60;
  Bytes heard_;  // on the control channel
};

}  // namespace ferry::fuzz
