#include "tests/session/peer.h"

#include <sys/socket.h>

#include "base/iovec_window.h"
#include "channels/socket_channel.h"
#include "ferry/transport.h"
#include "loop/socket_address.h"
#include "tests/channels/raw_socket.h"
#include "wire/packet.h"

namespace ferry::test {

Peer::Peer(std::unique_ptr<Channel> channel)
    : liveness_(std::make_unique<Liveness>()),
      link_(std::make_unique<Link>(std::move(channel), *liveness_)) {}

bool Peer::say(std::span<const std::byte> bytes) {
  const iovec piece = piece_of(bytes);
  return link_->write(std::span(&piece, 1)).has_value();
}

bool Peer::say(std::string_view text) { return say(std::as_bytes(std::span(text))); }

bool Peer::say(const wire::ControlFrame& frame) { return link_->send(frame).has_value(); }

std::vector<std::byte> Peer::read_message(
    Result<std::size_t> (*length_of)(std::span<const std::byte>)) {
  std::vector<std::byte> message(wire::k_prologue_bytes);
  const auto read = [&](std::size_t from) {
    const iovec piece{message.data() + from, message.size() - from};
    return link_->read_payload(std::span(&piece, 1));
  };
  if (const auto prologue = read(0); !prologue) {
    ADD_FAILURE() << prologue.error().text();
    return {};
  }
  const auto length = length_of(message);
  if (!length) {
    ADD_FAILURE() << length.error().text();
    return {};
  }
  message.resize(*length);
  if (const auto rest = read(wire::k_prologue_bytes); !rest) {
    ADD_FAILURE() << rest.error().text();
    return {};
  }
  return message;
}

wire::Hello Peer::hear_hello() {
  const auto hello = wire::decode_hello(read_message(&wire::hello_length));
  EXPECT_TRUE(hello);
  return hello.value_or(wire::Hello{});
}

wire::HelloAck Peer::hear_ack() {
  const auto ack = wire::decode_hello_ack(read_message(&wire::hello_ack_length));
  EXPECT_TRUE(ack);
  wire::HelloAck nothing;
  nothing.reason = "nothing could be read";
  return ack.value_or(nothing);
}

wire::HelloAck Peer::introduce(const wire::Hello& hello) {
  EXPECT_TRUE(say(wire::encode(hello)));
  return hear_ack();
}

wire::Hello Peer::accept_hello() {
  const wire::Hello hello = hear_hello();
  wire::HelloAck ack;
  ack.session = hello.session;
  ack.optional_features = hello.optional_features;
  EXPECT_TRUE(say(wire::encode(ack)));
  return hello;
}

Result<void> Peer::pass_over(std::span<const std::byte> packet) {
  const auto header = FERRY_TRY(wire::decode_packet(packet));
  if (header.header.payload_bytes == 0) return {};
  std::vector<std::byte> payload(header.header.payload_bytes);
  const iovec piece{payload.data(), payload.size()};
  return link_->read_payload(std::span(&piece, 1));
}

std::optional<wire::ControlFrame> Peer::hear_any() {
  const auto hear = [this]() -> Result<std::optional<wire::ControlFrame>> {
    while (const auto message = FERRY_TRY(link_->next())) {
      if (message->kind == wire::MessageKind::packet) {
        FERRY_TRY(pass_over(message->bytes));
        continue;
      }
      wire::ControlFrame frame = FERRY_TRY(wire::decode_control(message->bytes));
      if (std::holds_alternative<wire::Heartbeat>(frame)) continue;
      if (!std::holds_alternative<wire::LaneTimesFrame>(frame)) return frame;
    }
    return std::nullopt;
  };
  auto frame = hear();
  if (frame) return *std::move(frame);
  ADD_FAILURE() << frame.error().text();
  return std::nullopt;
}

void Peer::hear_packets(int count) {
  while (count > 0) {
    const auto message = link_->next();
    ASSERT_TRUE(message && *message);
    if ((*message)->kind != wire::MessageKind::packet) continue;
    ASSERT_TRUE(pass_over((*message)->bytes));
    --count;
  }
}

bool Peer::hear_the_end() {
  std::byte byte;
  const iovec piece{&byte, 1};
  while (true) {
    const auto read = link_->read_payload(std::span(&piece, 1));
    if (read) continue;
    // A finish has no errno; a reset has.
    return read.error().sys == 0;
  }
}

Peer connect_to(Runtime& runtime, const std::string& uri) {
  Transport* const transport = runtime.transport("tcp").value();
  auto channel =
      block_on(runtime.loop(), transport->connect(runtime.loop(), Uri::parse(uri).value()));
  return Peer(std::move(channel).value());
}

Door::Door() : listener_(raw_listener(300)) {}

std::string Door::uri() const { return uri_text("tcp", local_address(listener_.get())); }

Peer Door::accept_silently() {
  UniqueFd line(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  return Peer(std::make_unique<SocketChannel>(std::move(line), ChannelInfo{}));
}

Door::Source Door::accept_source(std::uint32_t optional_features) {
  Peer control = accept_silently();
  const wire::Hello hello = control.hear_hello();
  control.say(wire::encode(
      wire::HelloAck{.session = hello.session, .optional_features = optional_features}));
  control.hear<wire::LayoutFrame>();
  control.say(wire::LayoutAck{});
  control.hear<wire::AddChannels>();
  control.say(wire::ChannelsAck{.first = 0, .count = 1});
  Peer page = accept();
  return {hello, std::move(control), std::move(page)};
}

Peer Door::accept() {
  Peer peer = accept_silently();
  peer.accept_hello();
  return peer;
}

Peer Door::accept_control(std::uint16_t channels) {
  Peer control = accept();
  control.hear<wire::LayoutFrame>();
  control.say(wire::LayoutAck{});
  control.say(wire::ChannelsAck{.first = 0, .count = channels});
  return control;
}

wire::SessionId session_id(int number) {
  wire::SessionId id;
  id.fill(static_cast<std::byte>(number));
  return id;
}

}  // namespace ferry::test
