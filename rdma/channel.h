// The channel over RDMA.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "ferry/channel.h"
#include "rdma/line.h"
#include "rdma/placed.h"
#include "rdma/target.h"

namespace ferry {

/// A connected RdmaLine as a byte stream, with pages beside it.
///
/// Bytes are copied into messages and out of them: pages go by PlacedIo, which copies nothing.
/// finish() is a message, and returns when the peer's device has it; destroyed without, the peer
/// reads what it had got and then sees a cut. cancel() raises an eventfd that every wait has beside
/// the device's descriptors; the peer hears of it when the channel is destroyed.
class RdmaChannel final : public Channel, private Pollable {
 public:
  /// `line` has begun.
  RdmaChannel(std::unique_ptr<RdmaLine> line, ChannelInfo info, std::uint64_t most_pinned);
  ~RdmaChannel() override;

  Result<std::size_t> read_some(std::span<const iovec> into) override;
  Result<void> write(std::span<const iovec> from, Loan loan = Loan::none) override;
  Result<void> flush() override;
  Result<void> finish() override;
  void cancel(Errc why = Errc::cancelled) noexcept override { line_->cancel(why); }
  const ChannelInfo& info() const noexcept override { return info_; }
  Facets facets() noexcept override {
    return {.placed_io = &placed_, .placed_target = &target_, .pollable = this};
  }

 private:
  /// What the peer says of rights goes to the one whom it concerns.
  class Rights final : public RightsListener {
   public:
    explicit Rights(RdmaChannel& channel) noexcept : channel_(channel) {}
    Result<void> hear(const Held& held, RdmaWord word, std::span<const std::byte> payload) override;
    void look_again(const Held& held) override;

   private:
    RdmaChannel& channel_;
  };

  Result<Step> try_read_some(std::span<const iovec> into) override;
  Result<Step> try_write_some(std::span<const iovec> from) override;
  int fd() const noexcept override { return line_->fd(); }

  Result<void> check_reading() const;
  Result<void> check_writing();
  Result<std::size_t> take(const RdmaLine::Held& held, std::span<const iovec> into);

  const ChannelInfo info_;
  const std::string read_act_;          // "read from rdma://node7:4446"
  const std::string write_act_;         // "write to ..."
  std::optional<Error> read_failure_;   // the reading thread's
  std::optional<Error> write_failure_;  // the writing thread's
  Rights rights_{*this};
  RdmaPlaced placed_;  // the writing thread's
  RdmaTarget target_;
  std::unique_ptr<RdmaLine> line_;  // goes first: nothing is under way when memory is given back
};

}  // namespace ferry
