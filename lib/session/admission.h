// Which channels belong to a session: pure judgement, no I/O.
#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>

#include "ferry/channel.h"
#include "wire/hello.h"

namespace ferry {

/// Admits one session: its control (or solo) channel, and the page channels that it has announced,
/// each once, unless it is reopened. Everybody else is refused, with the reason. Thread-safe.
class Admission {
 public:
  /// An answer of Verdict::accepted is a promise: the place is taken, until withdraw(). `binding`
  /// is that of the channel over which the Hello came, null where it is not encrypted. To an
  /// encrypted control channel the answer has a secret, and only page channels that prove it are of
  /// its session then.
  wire::HelloAck admit(const wire::Hello& hello, const ChannelBinding* binding = nullptr);

  /// The answer did not reach the peer: its place is free again.
  void withdraw(const wire::Hello& hello);

  /// The control channel has announced these. Errc::protocol where it had done so before, or they
  /// are out of bounds.
  Result<void> announce(std::uint16_t first, std::uint16_t count);

  /// The channel of this index is to have a successor: one more is admitted. Errc::protocol where
  /// there is none yet to succeed.
  Result<void> reopen(std::uint16_t index);

  /// How many channels may yet be admitted: the first one, or those announced that are not here.
  std::size_t awaited() const;

  /// Is there a session, or has there been one?
  bool begun() const;

  /// Nobody is admitted any more.
  void end();

 private:
  wire::HelloAck admit_control(const wire::Hello& hello, const ChannelBinding* binding);
  wire::HelloAck admit_page(const wire::Hello& hello, const ChannelBinding* binding);
  bool proves_its_right(const wire::Hello& hello, const ChannelBinding* binding) const;

  mutable std::mutex mutex_;
  std::optional<wire::SessionId> session_;
  std::optional<wire::Secret> secret_;  // where the session is encrypted
  bool ended_ = false;
  std::bitset<wire::k_max_channels> announced_;
  std::bitset<wire::k_max_channels> present_;
};

}  // namespace ferry
