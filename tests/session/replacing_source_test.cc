// Sources that replace channels by hand: as they may, and as no honest one would.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "tests/session/memory_guest.h"
#include "tests/session/migration.h"
#include "tests/session/scripted_source.h"

namespace ferry::test {
namespace {

using testing::HasSubstr;
using Verdict = wire::HelloAck::Verdict;

const PageRun k_first{0, 0, k_unit_bytes};
const PageRun k_rest{0, k_unit_bytes, 9 * k_unit_bytes};

std::ptrdiff_t count_of(const char* folder) {
  const std::filesystem::directory_iterator entries(folder);
  return std::distance(begin(entries), end(entries));
}

class ReplacingSource : public testing::Test {
 protected:
  bool say(std::uint16_t lane, const PageRun& run) {
    return source_.data(lane, run, from_.mappings().region(0).subspan(run.offset, run.length));
  }
  void end_round() {
    for (const std::uint16_t lane : {0, 1}) source_.end_round(lane);
    EXPECT_EQ(source_.control().hear<wire::RoundAck>().round, source_.round);
    ++source_.round;
  }
  void expect_moved(std::uint64_t replacements) {
    source_.prepare();
    source_.commit();
    source_.control().finish();
    const Outcome received = receiving_.outcome();
    EXPECT_TRUE(received.ok()) << why_not(received);
    EXPECT_EQ(received.report.replacements, replacements);
    EXPECT_TRUE(identical(from_, to_));
  }

  const std::unique_ptr<Runtime> runtime_ = runtime_of_all_transports();
  MemorySource from_{layout_of({10 * k_unit_bytes})};
  MemoryDestination to_;
  Receiving receiving_{*runtime_, to_};
  ScriptedSource source_{*runtime_, receiving_.uri()};
};

TEST_F(ReplacingSource, IsReadInItsOrderWhicheverChannelComesFirst) {
  source_.open(from_.mappings().memory().layout(), 2);
  Peer old = source_.replace_and_keep(0);
  // On the new one, which has number 1: it waits until the old one has ended.
  Peer next = connect_to(*runtime_, receiving_.uri());
  EXPECT_EQ(next.introduce(source_.hello(wire::Role::page, 0)).verdict, Verdict::unannounced);
  old.finish();
  EXPECT_TRUE(say(0, k_first));
  EXPECT_TRUE(old.hear_the_end()) << "it was read, and is over there, too";
  EXPECT_TRUE(say(1, k_rest));
  end_round();
  expect_moved(1);
}

TEST_F(ReplacingSource, MayDoSoForEverAndNothingGrows) {
  source_.open(from_.mappings().memory().layout(), 2);
  EXPECT_TRUE(say(0, k_first));
  EXPECT_TRUE(say(1, k_rest));
  constexpr int k_times = 300;  // more often than there are numbers of channels
  std::ptrdiff_t threads = 0;
  std::ptrdiff_t descriptors = 0;
  for (int i = 0; i < k_times; ++i) {
    Peer old = source_.replace_and_keep(0);
    old.finish();
    EXPECT_TRUE(say(0, k_first));
    EXPECT_TRUE(old.hear_the_end());
    if (i != 10) continue;
    threads = count_of("/proc/self/task");
    descriptors = count_of("/proc/self/fd");
  }
  EXPECT_LE(count_of("/proc/self/task"), threads);
  EXPECT_LE(count_of("/proc/self/fd"), descriptors + 2);
  end_round();
  expect_moved(k_times);
}

TEST_F(ReplacingSource, MayDoSoWhereDamageIsOutstandingBehindTheEndOfTheRound) {
  source_.open(from_.mappings().memory().layout(), 2);
  EXPECT_TRUE(say(1, k_rest));
  const auto page = from_.mappings().region(0).first(k_unit_bytes);
  std::vector<std::byte> damaged(page.begin(), page.end());
  wire::PacketHeader header = header_of(k_first, damaged);
  damaged[5] ^= std::byte{1};
  EXPECT_TRUE(source_.packet(0, header, damaged));
  source_.end_round(0);
  source_.end_round(1);
  const auto nak = source_.control().hear<wire::Nak>();
  EXPECT_EQ(nak.runs, std::vector{k_first});
  source_.heard(nak);
  source_.replace(0);
  header.flags = wire::k_stable | wire::k_resend;
  EXPECT_TRUE(source_.packet(0, header, page));
  EXPECT_EQ(source_.control().hear<wire::RoundAck>().round, 0u);
  expect_moved(1);
}

struct Hostility {
  std::string name;
  std::function<void(ScriptedSource&)> act;
  std::string text;
  friend void PrintTo(const Hostility& hostility, std::ostream* out) { *out << hostility.name; }
};

class HostileReplacing : public testing::TestWithParam<Hostility> {};

const Layout k_layout = layout_of({10 * k_unit_bytes});

std::vector<Hostility> hostilities() {
  const auto opens_then = [](std::function<void(ScriptedSource&)> act) {
    return [act](ScriptedSource& source) {
      source.open(k_layout, 2);
      act(source);
    };
  };
  const auto says = [](std::uint16_t lane) {
    return [lane](ScriptedSource& source) { source.control().say(wire::ReplaceChannel{lane}); };
  };
  return {
      {"BeforeThereAreAny",
       [](ScriptedSource& source) {
         source.greet();
         source.control().say(wire::LayoutFrame{k_layout});
         source.control().hear<wire::LayoutAck>();
         source.control().say(wire::ReplaceChannel{0});
       },
       "replace channel: not now"},
      {"BeforeThatOneIsThere",
       [](ScriptedSource& source) {
         source.greet();
         source.control().say(wire::LayoutFrame{k_layout});
         source.control().hear<wire::LayoutAck>();
         source.control().say(wire::AddChannels{0, 2});
         source.control().hear<wire::ChannelsAck>();
         source.control().say(wire::ReplaceChannel{1});
       },
       "replace channel 1: it is not there"},
      {"OfNoLane", opens_then(says(2)), "replace channel 2: there is no such lane"},
      {"OfTheLastNumber", opens_then(says(254)), "replace channel 254: there is no such lane"},
      {"TwiceAtOnce", opens_then([](ScriptedSource& source) {
         source.control().say(wire::ReplaceChannel{0});
         source.control().hear<wire::ChannelsAck>();
         source.control().say(wire::ReplaceChannel{0});
       }),
       "replace channel 0: it is being replaced"},
      {"AgainBeforeTheFirstHasEnded", opens_then([](ScriptedSource& source) {
         const Peer old = source.replace_and_keep(0);
         source.control().say(wire::ReplaceChannel{0});
         source.control().hear_any();
       }),
       "replace channel 0: it is being replaced"},
      {"OfTheLastRound", opens_then([](ScriptedSource& source) {
         MemorySource memory(k_layout);
         source.send_all(memory.mappings());
         source.prepare();
         source.control().say(wire::ReplaceChannel{0});
       }),
       "replace channel: not now"},
      {"WithPacketsThatAreNotTheNext", opens_then([](ScriptedSource& source) {
         source.zeros(0, k_first);
         source.replace(0);
         wire::PacketHeader header;
         header.runs = {{.run = k_first, .kind = wire::RunKind::zero}};
         source.page(0).say(wire::encode(header).bytes);  // numbered from 0 again
       }),
       "expected sequence 1"},
      {"WithAFrame", opens_then([](ScriptedSource& source) {
         source.replace(0);
         source.page(0).say(wire::Heartbeat{});
       }),
       "a control frame on a page channel"},
      {"AndEndsTheNextToo", opens_then([](ScriptedSource& source) {
         source.replace(0);
         source.page(0).finish();
       }),
       "channel 0: it ended before the last round did"},
  };
}

TEST_P(HostileReplacing, IsRefused) {
  const auto runtime = runtime_of_all_transports();
  MemoryDestination to;
  Receiving receiving(*runtime, to);
  ScriptedSource source(*runtime, receiving.uri());
  GetParam().act(source);
  while (source.control().hear_any()) {
  }
  source.control().finish();
  const Outcome received = receiving.outcome();
  EXPECT_THAT(why_not(received), HasSubstr(GetParam().text));
  EXPECT_EQ(to.starts(), 0u);
}

INSTANTIATE_TEST_SUITE_P(Channels, HostileReplacing, testing::ValuesIn(hostilities()),
                         [](const auto& test) { return test.param.name; });

TEST_F(ReplacingSource, HasNobodyThatReadsAChannelBehindTheLastRound) {
  source_.open(from_.mappings().memory().layout(), 2);
  source_.send_all(from_.mappings());
  Peer old = source_.replace_and_keep(1);
  source_.prepare();
  old.finish();
  wire::PacketHeader header;
  header.runs = {{.run = k_first, .kind = wire::RunKind::zero}};
  source_.page(1).say(wire::encode(header).bytes);
  source_.commit();
  source_.control().finish();
  const Outcome received = receiving_.outcome();
  EXPECT_TRUE(received.ok()) << why_not(received);
  EXPECT_TRUE(identical(from_, to_));
}

}  // namespace
}  // namespace ferry::test
