// Of all that breaks when a migration fails, both sides name what broke first.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <future>
#include <string>
#include <vector>

#include "channels/socket_channel.h"
#include "tests/session/memory_guest.h"
#include "tests/session/migration.h"
#include "tests/session/scripted_source.h"

namespace ferry::test {
namespace {

using testing::HasSubstr;

Hook breaks(Errc code, std::string text) {
  return [code, text]() -> Result<void> { return fail(code, text); };
}

struct Break {
  std::string name;
  std::function<Hook&(MemorySource&, MemoryDestination&)> hook;
  Errc at_the_destination;
  Errc at_the_source;
  friend void PrintTo(const Break& what, std::ostream* out) { *out << what.name; }
};

std::vector<Break> breaks_before_the_commit() {
  const auto destination = [](Hook MemoryDestination::*hook) {
    return [hook](MemorySource&, MemoryDestination& to) -> Hook& { return to.*hook; };
  };
  const auto source = [](Hook MemorySource::*hook) {
    return [hook](MemorySource& from, MemoryDestination&) -> Hook& { return from.*hook; };
  };
  using enum Errc;
  return {
      {"MapMemory", destination(&MemoryDestination::on_map_memory), refused, refused},
      {"Prepare", destination(&MemoryDestination::on_prepare), refused, refused},
      {"StartTracking", source(&MemorySource::on_start_tracking), disconnected, guest},
      {"Harvest", source(&MemorySource::on_harvest), disconnected, guest},
      {"Pause", source(&MemorySource::on_pause), disconnected, guest},
  };
}

class BrokenGuest : public testing::TestWithParam<Break> {
 protected:
  void expect_both_know(const Ended& ended) {
    for (const Outcome& outcome : {ended.sent, ended.received}) {
      EXPECT_THAT(why_not(outcome), HasSubstr("no room in 'ram0'"));
      EXPECT_EQ(outcome.owner, Owner::source);
    }
    EXPECT_EQ(ended.sent.why_not.value().code, GetParam().at_the_source);
    EXPECT_EQ(ended.received.why_not.value().code, GetParam().at_the_destination);
    EXPECT_TRUE(from_.runs());
    EXPECT_EQ(to_.starts(), 0u);
  }

  std::unique_ptr<Runtime> runtime_ = runtime_of_all_transports();
  MemorySource from_{layout_of({300 * k_unit_bytes})};
  MemoryDestination to_;
};

TEST_P(BrokenGuest, IsTheReasonOnBothSidesOfSeveralChannels) {
  GetParam().hook(from_, to_) = breaks(Errc::refused, "no room in 'ram0'");
  SendOptions options;
  options.channels = 4;
  expect_both_know(migrate(*runtime_, from_, to_, "tcp://127.0.0.1:0", options));
}

TEST_P(BrokenGuest, IsTheReasonOnBothSidesOfOneChannel) {
  GetParam().hook(from_, to_) = breaks(Errc::refused, "no room in 'ram0'");
  auto [ours, theirs] = make_socket_pair().value();
  expect_both_know(
      migrate_over(*runtime_, from_, to_, std::move(ours), std::move(theirs), SendOptions{}));
}

INSTANTIATE_TEST_SUITE_P(In, BrokenGuest, testing::ValuesIn(breaks_before_the_commit()),
                         [](const auto& test) { return test.param.name; });

TEST(GuestThatDoesNotStart, BelongsToTheDestinationAndIsUnknownToTheSource) {
  const auto runtime = runtime_of_all_transports();
  MemorySource from(layout_of({300 * k_unit_bytes}));
  MemoryDestination to;
  to.on_start = breaks(Errc::guest, "no processor is left");
  const Ended ended = migrate(*runtime, from, to, "tcp://127.0.0.1:0", {});
  EXPECT_EQ(ended.received.owner, Owner::destination);
  EXPECT_THAT(why_not(ended.received), HasSubstr("no processor is left"));
  EXPECT_EQ(ended.sent.owner, Owner::unknown);
  EXPECT_THAT(why_not(ended.sent), HasSubstr("no processor is left"));
  EXPECT_EQ(from.resumes(), 0u);
}

TEST(GuestThatCannotBeResumed, IsToldBesideTheReasonOfTheFailure) {
  const auto runtime = runtime_of_all_transports();
  MemorySource from(layout_of({300 * k_unit_bytes}));
  MemoryDestination to;
  to.on_prepare = breaks(Errc::system, "no room in 'ram0'");
  from.on_resume = breaks(Errc::guest, "it lies on its back");
  const Ended ended = migrate(*runtime, from, to, "tcp://127.0.0.1:0", {});
  EXPECT_THAT(why_not(ended.sent), HasSubstr("no room in 'ram0'"));
  EXPECT_THAT(why_not(ended.sent), HasSubstr("it lies on its back"));
  EXPECT_EQ(ended.sent.owner, Owner::source);
}

TEST(MemoryThatIsNotWhatWasAskedFor, IsAFailureOfTheGuest) {
  class Shrunk final : public DestinationGuest {
   public:
    Result<GuestMemory> map_memory(const Layout&) override { return GuestMemory(); }
    Result<void> prepare() override { return {}; }
    Result<void> start(const OwnerToken&) override { return {}; }
  } to;
  const auto runtime = runtime_of_all_transports();
  MemorySource from(layout_of({300 * k_unit_bytes}));
  const Ended ended = migrate(*runtime, from, to, "tcp://127.0.0.1:0", {});
  EXPECT_EQ(ended.received.why_not.value().code, Errc::guest);
  EXPECT_THAT(why_not(ended.sent), HasSubstr("not what the sender's layout asks for"));
}

TEST(GuestThatRuns, IsToldToTheSourceAlthoughAPageChannelBrokeMeanwhile) {
  const auto runtime = runtime_of_all_transports();
  MemorySource memory(layout_of({10 * k_unit_bytes}));
  MemoryDestination to;
  std::promise<void> starting;
  std::promise<void> broken;
  to.on_start = [&]() -> Result<void> {
    starting.set_value();
    broken.get_future().wait();
    return {};
  };
  Receiving receiving(*runtime, to);
  ScriptedSource source(*runtime, receiving.uri());
  source.open(memory.memory().layout(), 2);
  source.send_all(memory.mappings());
  source.prepare();
  const OwnerToken token{session_id(5)};
  source.control().say(wire::Commit{.transcript = source.transcript(), .token = token});
  starting.get_future().wait();
  source.page(0).say("nonsense");
  source.page(1).hear_the_end();  // it was let go of: the failure of the other one was noticed
  broken.set_value();
  EXPECT_EQ(source.control().hear<wire::Started>().token, token);
  source.control().finish();
  const Outcome received = receiving.outcome();
  EXPECT_TRUE(received.ok()) << why_not(received);
  EXPECT_EQ(received.owner, Owner::destination);
}

}  // namespace
}  // namespace ferry::test
