// A receiver of pages whose source is the test.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "base/bounded_queue.h"
#include "base/iovec_window.h"
#include "channels/buffer.h"
#include "multifd/page_receiver.h"
#include "tests/channels/io.h"
#include "tests/multifd/crafted_packet.h"
#include "tests/multifd/placing_line.h"

namespace ferry::test {

/// How the payload of its packets comes.
enum class Carried { streamed, placed };

/// Has roomy lines to the receiver: what a test writes to a lane that has failed does not wait.
class FedReceiver {
 public:
  explicit FedReceiver(const GuestMemory& memory, unsigned lanes = 1,
                       Carried carried = Carried::streamed, PageReceiver::KeepState keep_state = {})
      : FedReceiver(memory, lanes, make_buffer_pair(k_room), carried, std::move(keep_state)) {}

  /// With a control channel of the test's making: the test's end, then the receiver's.
  FedReceiver(const GuestMemory& memory, unsigned lanes, ChannelPair control,
              Carried carried = Carried::streamed, PageReceiver::KeepState keep_state = {})
      : carried_(carried),
        answers_(std::move(control.first), liveness_),
        control_(std::move(control.second), liveness_),
        receiver_(
            memory, lanes, control_, [this](Error error) { failures_.push(error); },
            std::move(keep_state)) {
    for (unsigned lane = 0; lane < lanes; ++lane) {
      ChannelPair line = make_buffer_pair(k_room);
      if (carried == Carried::placed) line = make_placing(std::move(line));
      auto [ours, theirs] = std::move(line);
      lanes_.push_back(std::move(ours));
      EXPECT_TRUE(receiver_.add_lane(static_cast<std::uint16_t>(lane),
                                     std::make_unique<Link>(std::move(theirs), liveness_)));
    }
  }
  ~FedReceiver() { control_.cancel(Errc::cancelled); }

  /// Returns the packet as it was sent.
  CraftedPacket send(CraftedPacket packet, unsigned lane = 0) {
    if (carried_ == Carried::streamed || packet.payload().empty()) {
      send_bytes(packet.bytes(), lane);
    } else {
      packet.placed();
      for (const auto& [run, bytes] : packet.pieces()) EXPECT_TRUE(put(run, bytes, lane));
      send_bytes(packet.header_bytes(), lane);
    }
    return packet;
  }
  /// Of a lane over which pages are placed.
  Result<void> put(const PageRun& run, std::span<const std::byte> bytes, unsigned lane = 0) {
    PlacedIo& io = *lanes_[lane]->facets().placed_io;
    const auto staging = FERRY_TRY(io.staging(PlacedIo::k_staging_bytes)).first(bytes.size());
    std::ranges::copy(bytes, staging.begin());
    return io.put(run, staging);
  }
  void send_bytes(std::span<const std::byte> bytes, unsigned lane = 0) {
    const iovec piece = piece_of(bytes);
    ASSERT_TRUE(lanes_[lane]->write({&piece, 1}));
  }

  /// What the receiver says next on the control channel. Blocks.
  wire::ControlFrame answer() {
    const auto message = answers_.next();
    if (!message || !message->has_value()) {
      ADD_FAILURE() << text_of(message);
      return wire::Abort{};
    }
    return wire::decode_control(message->value().bytes).value();
  }

  /// What a lane failed with. Blocks until one did.
  Error failure() { return failures_.pop().value(); }
  bool failed() { return failures_.try_pop().has_value(); }

  Channel& lane(unsigned index) { return *lanes_[index]; }
  Link& control() { return control_; }
  PageReceiver& receiver() { return receiver_; }

 private:
  static constexpr std::size_t k_room = 256 * 1024;

  const Carried carried_;
  Liveness liveness_;
  BoundedQueue<Error> failures_{wire::k_max_channels};
  Link answers_;
  Link control_;
  std::vector<std::unique_ptr<Channel>> lanes_;
  PageReceiver receiver_;
};

}  // namespace ferry::test
