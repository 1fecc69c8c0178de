// A receiver of pages whose source is the test.
#pragma once

#include <gtest/gtest.h>

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

namespace ferry::test {

/// Has roomy lines to the receiver: what a test writes to a lane that has failed does not wait.
class FedReceiver {
 public:
  explicit FedReceiver(const GuestMemory& memory, unsigned lanes = 1)
      : FedReceiver(memory, lanes, make_buffer_pair(k_room)) {}

  /// With a control channel of the test's making: the test's end, then the receiver's.
  FedReceiver(const GuestMemory& memory, unsigned lanes,
              std::pair<std::unique_ptr<Channel>, std::unique_ptr<Channel>> control)
      : answers_(std::move(control.first), liveness_),
        control_(std::move(control.second), liveness_),
        receiver_(memory, lanes, control_, [this](Error error) { failures_.push(error); }) {
    for (unsigned lane = 0; lane < lanes; ++lane) {
      auto [ours, theirs] = make_buffer_pair(k_room);
      lanes_.push_back(std::move(ours));
      EXPECT_TRUE(receiver_.add_lane(static_cast<std::uint16_t>(lane),
                                     std::make_unique<Link>(std::move(theirs), liveness_)));
    }
  }
  ~FedReceiver() { control_.cancel(Errc::cancelled); }

  void send(const CraftedPacket& packet, unsigned lane = 0) { send_bytes(packet.bytes(), lane); }
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

  Liveness liveness_;
  BoundedQueue<Error> failures_{wire::k_max_channels};
  Link answers_;
  Link control_;
  std::vector<std::unique_ptr<Channel>> lanes_;
  PageReceiver receiver_;
};

}  // namespace ferry::test
