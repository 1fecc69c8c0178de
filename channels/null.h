// The channel to nowhere: for measuring everything but the line.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>

#include "base/cancel_reason.h"
#include "ferry/channel.h"

namespace ferry {

/// Its peer has finished from the start, and takes whatever is written without looking at it.
class NullChannel final : public Channel {
 public:
  Result<std::size_t> read_some(std::span<const iovec> into) override;
  Result<void> write(std::span<const iovec> from, Loan loan = Loan::none) override;
  Result<void> flush() override;
  Result<void> finish() override;
  void cancel(Errc why = Errc::cancelled) noexcept override { cancelled_.give(why); }
  const ChannelInfo& info() const noexcept override { return info_; }

  /// Thread-safe.
  std::uint64_t bytes_written() const noexcept { return bytes_written_; }

 private:
  Result<void> check_writing() const;

  const ChannelInfo info_{.scheme = "null", .local = "null", .peer = "null"};
  CancelReason cancelled_;
  std::atomic<std::uint64_t> bytes_written_ = 0;  // a figure to look at; pairs with nothing
};

}  // namespace ferry
