// Who says nothing is given up; who is only slow is not. Silence has a floor of three seconds, so
// these tests take that long.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <string>

#include "channels/buffer.h"
#include "tests/session/memory_guest.h"
#include "tests/session/migration.h"
#include "tests/session/peer.h"
#include "tests/session/scripted_source.h"

namespace ferry::test {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

TEST(Silence, EndsASessionOnBothSides) {
  const auto runtime = runtime_of_all_transports();
  MemoryDestination to;
  ReceiveOptions receive_options;
  receive_options.timeout = 1ms;  // less than the floor
  Receiving receiving(*runtime, to, "tcp://127.0.0.1:0", receive_options);
  ScriptedSource source(*runtime, receiving.uri());
  source.open(layout_of({4096}));

  // Beside it a source whose peer reads nothing and says nothing, with all pipes full.
  MemorySource from(layout_of({8 * 1024 * 1024}));
  auto [ours, theirs] = make_buffer_pair();
  SendOptions send_options;
  send_options.timeout = 2s;
  Call sent = sending_over(*runtime, from, std::move(ours), send_options);
  Peer peer(std::move(theirs));
  peer.accept_hello();
  peer.hear<wire::LayoutFrame>();
  peer.say(wire::LayoutAck{});

  EXPECT_EQ(source.control().hear<wire::Abort>().code, Errc::timed_out);
  source.control().finish();
  const Outcome received = receiving.outcome();
  EXPECT_EQ(received.why_not.value().code, Errc::timed_out);
  EXPECT_THAT(why_not(received), HasSubstr("hear from the sender"));
  const Outcome outcome = sent.outcome();
  EXPECT_EQ(outcome.why_not.value().code, Errc::timed_out);
  EXPECT_THAT(why_not(outcome), HasSubstr("hear from the receiver"));
  EXPECT_EQ(outcome.owner, Owner::source);
  EXPECT_TRUE(from.runs());
}

TEST(Silence, OfPageChannelsAloneEndsASessionToo) {
  // A network that swallows pages, while the control channel carries every heartbeat.
  const auto runtime = runtime_of_all_transports();
  MemorySource from(layout_of({100 * k_unit_bytes}));
  Door door;
  std::atomic<Peer*> beating = nullptr;
  SendOptions options;
  options.channels = 1;
  options.timeout = 3s;
  options.observer.progress = [&](const Progress&) {
    if (Peer* const peer = beating) peer->say(wire::Heartbeat{});
  };
  Call sent = sending(*runtime, from, door.uri(), options);
  Peer control = door.accept();
  beating = &control;
  control.hear<wire::LayoutFrame>();
  control.say(wire::LayoutAck{});
  control.hear<wire::AddChannels>();
  control.say(wire::ChannelsAck{.first = 0, .count = 1});
  const Peer page = door.accept();

  const auto abort = control.hear<wire::Abort>();
  EXPECT_EQ(abort.code, Errc::timed_out);
  control.finish();
  const Outcome outcome = sent.outcome();
  EXPECT_EQ(outcome.why_not.value().code, Errc::timed_out);
  EXPECT_THAT(why_not(outcome), HasSubstr("send pages to"));
  EXPECT_EQ(outcome.owner, Owner::source);
  EXPECT_TRUE(from.runs());
}

TEST(Silence, OfWhoReadsNoDeviceStateEndsASessionToo) {
  // A receiver that is alive, and takes all memory, and then nothing more.
  const auto runtime = runtime_of_all_transports();
  MemorySource from(layout_of({k_unit_bytes}));
  from.on_save = [](StateWriter& out) -> Result<void> {
    const std::vector<std::byte> much(1024 * 1024);
    out.section("framebuffer");
    while (out.status()) out.bytes(much);
    return {};
  };
  Door door;
  SendOptions options;
  options.channels = 1;
  options.timeout = 3s;
  Call sent = sending(*runtime, from, door.uri(), options);
  Peer control = door.accept_control(1);
  const Peer page = door.accept();
  control.say(wire::RoundAck{.round = 0});
  // By a clock of its own: the source's beat is stuck behind what nobody reads.
  std::promise<void> over;
  std::future<void> beating = std::async(std::launch::async, [&, until = over.get_future()] {
    while (until.wait_for(500ms) == std::future_status::timeout) {
      if (!control.say(wire::Heartbeat{})) return;
    }
  });

  const Outcome outcome = sent.outcome();
  over.set_value();
  EXPECT_EQ(outcome.why_not.value().code, Errc::timed_out);
  EXPECT_THAT(why_not(outcome), HasSubstr("send device state to"));
  EXPECT_EQ(outcome.owner, Owner::source);
  EXPECT_EQ(from.pauses(), 1u);
  EXPECT_TRUE(from.runs());
}

/// Counts, and lets a waiter know when there are enough.
class Beats {
 public:
  explicit Beats(int enough) : left_(enough) {}
  void count() {
    if (--left_ == 0) enough_.set_value();
  }
  Result<void> wait() {
    enough_.get_future().wait();
    return {};
  }

 private:
  std::atomic<int> left_;
  std::promise<void> enough_;
};

TEST(Heartbeats, KeepAMigrationAliveWhileAGuestTakesItsTime) {
  // Five seconds in each of two callbacks of the destination, while three of silence are allowed;
  // and meanwhile a stranger who says nothing has his ten, and is sent away.
  const auto runtime = runtime_of_all_transports();
  MemorySource from(layout_of({100 * k_unit_bytes}));
  MemoryDestination to;
  Beats first(5);
  Beats second(11);
  to.on_map_memory = [&] { return first.wait(); };
  to.on_prepare = [&] { return second.wait(); };
  ReceiveOptions receive_options;
  receive_options.timeout = 3s;
  Receiving receiving(*runtime, to, "tcp://127.0.0.1:0", receive_options);
  Peer silent = connect_to(*runtime, receiving.uri());
  SendOptions send_options;
  send_options.timeout = 3s;
  send_options.observer.progress = [&](const Progress&) {
    first.count();
    second.count();
  };
  const Outcome sent = send(*runtime, from, receiving.uri(), send_options);
  EXPECT_TRUE(sent.ok()) << why_not(sent);
  const Outcome received = receiving.outcome();
  EXPECT_TRUE(received.ok()) << why_not(received);
  EXPECT_TRUE(identical(from, to));
  EXPECT_EQ(received.report.refused, 1u);
  const wire::HelloAck ack = silent.hear_ack();
  EXPECT_EQ(ack.verdict, wire::HelloAck::Verdict::malformed);
  EXPECT_THAT(ack.reason, HasSubstr("wait for a Hello: timed out"));
  EXPECT_TRUE(silent.hear_the_end());
}

}  // namespace
}  // namespace ferry::test
