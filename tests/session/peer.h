// The other side of a line to Ferry, spoken by hand: for peers that are hostile, or foreign.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "ferry/channel.h"
#include "ferry/runtime.h"
#include "ferry/unique_fd.h"
#include "multifd/link.h"
#include "multifd/liveness.h"
#include "wire/control.h"
#include "wire/hello.h"

namespace ferry::test {

/// One line. It says what it is told, in blocking calls, and hears what Ferry says; heartbeats,
/// packets and lane times are passed over. What cannot be read fails the test.
class Peer {
 public:
  explicit Peer(std::unique_ptr<Channel> channel);

  /// False where the line is gone.
  bool say(std::span<const std::byte> bytes);
  bool say(std::string_view text);
  bool say(const wire::ControlFrame& frame);
  void finish() { (void)link_->finish(); }

  wire::Hello hear_hello();
  wire::HelloAck hear_ack();
  /// Says Hello, and hears the answer.
  wire::HelloAck introduce(const wire::Hello& hello);
  /// Hears a Hello and accepts it.
  wire::Hello accept_hello();

  /// The next frame; nothing at the peer's finish. A cut line fails the test.
  std::optional<wire::ControlFrame> hear_any();
  /// The next frame, which must be of this kind.
  template <class Frame>
  Frame hear();

  /// Passes over packets, until so many have come.
  void hear_packets(int count);

  /// Reads whatever comes until the line ends; false where it was cut.
  bool hear_the_end();

 private:
  std::vector<std::byte> read_message(Result<std::size_t> (*length_of)(std::span<const std::byte>));
  Result<void> pass_over(std::span<const std::byte> packet);

  std::unique_ptr<Liveness> liveness_;
  std::unique_ptr<Link> link_;
};

template <class Frame>
Frame Peer::hear() {
  const std::optional<wire::ControlFrame> frame = hear_any();
  const Frame* wanted = frame ? std::get_if<Frame>(&*frame) : nullptr;
  if (wanted != nullptr) return *wanted;
  ADD_FAILURE() << "heard " << (frame ? wire::name_of(*frame) : "the end") << " where "
                << wire::name_of(Frame{}) << " was expected";
  return {};
}

/// Connects to where a receiver listens.
Peer connect_to(Runtime& runtime, const std::string& uri);

/// Listens as a receiver does.
class Door {
 public:
  Door();
  std::string uri() const;
  /// Blocks for the next line, and accepts its Hello.
  Peer accept();
  /// The control channel of a sender: takes its layout, and grants it so many page channels before
  /// it has asked.
  Peer accept_control(std::uint16_t channels);
  /// Blocks for the next line, and says nothing.
  Peer accept_silently();
  /// A source of one lane, up to where its pages go. It is told of these features.
  struct Source {
    wire::Hello hello;
    Peer control;
    Peer page;
  };
  Source accept_source(std::uint32_t optional_features);

 private:
  UniqueFd listener_;
};

wire::SessionId session_id(int number);

}  // namespace ferry::test
