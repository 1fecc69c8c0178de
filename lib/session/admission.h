// Which channels belong to a session: pure judgement, no I/O.
#pragma once

#include <bitset>
#include <cstdint>
#include <mutex>
#include <optional>

#include "wire/hello.h"

namespace ferry {

/// Admits one session: its control (or solo) channel, and the page channels that it has announced,
/// each once. Everybody else is refused, with the reason. Thread-safe.
class Admission {
 public:
  /// An answer of Verdict::accepted is a promise: the place is taken, until withdraw().
  wire::HelloAck admit(const wire::Hello& hello);

  /// The answer did not reach the peer: its place is free again.
  void withdraw(const wire::Hello& hello);

  /// The control channel has announced these. Errc::protocol where it had done so before, or they
  /// are out of bounds.
  Result<void> announce(std::uint16_t first, std::uint16_t count);

  /// Nobody is admitted any more.
  void end();

 private:
  wire::HelloAck admit_control(const wire::Hello& hello);
  wire::HelloAck admit_page(const wire::Hello& hello);

  mutable std::mutex mutex_;
  std::optional<wire::SessionId> session_;
  bool ended_ = false;
  std::bitset<wire::k_max_channels> announced_;
  std::bitset<wire::k_max_channels> present_;
};

}  // namespace ferry
