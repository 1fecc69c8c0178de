// What a device, a connection manager or a peer may do wrong, and no device here does.
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "rdma/connect.h"
#include "rdma/line.h"
#include "tests/rdma/rdma_ends.h"

namespace ferry::test {
namespace {

class RdmaFailure : public testing::Test {
 protected:
  void SetUp() override {
    auto lane = pair_.connect();
    ASSERT_TRUE(lane) << text_of(lane);
    lane_ = std::move(*lane);
  }
  void next_request_ends(Completion::Fate fate) {
    pair_.fabric().set_faults({.on_send = [fate](const SendRequest&) { return fate; }});
  }
  RdmaPair pair_{Device::none};
  RdmaEnds lane_;
};

TEST_F(RdmaFailure, OfThePeersDeviceToAnswerIsACut) {
  next_request_ends(Completion::Fate::no_answer);
  const Error why = write_until_failure(*lane_.source);
  EXPECT_EQ(why.code, Errc::disconnected);
  EXPECT_TRUE(why.text().starts_with("write to rdma://127.0.0.1")) << why.text();
  EXPECT_TRUE(why.text().contains("does not answer any more")) << why.text();
  EXPECT_EQ(code_of(read_once(*lane_.source)), Errc::disconnected);
}

TEST_F(RdmaFailure, OfThePeerToBeReadyIsItsBreach) {
  next_request_ends(Completion::Fate::no_room);
  EXPECT_EQ(write_until_failure(*lane_.source).code, Errc::protocol);
}

TEST_F(RdmaFailure, ToWriteWhereItMayNotNamesTheAct) {
  next_request_ends(Completion::Fate::not_allowed);
  const Error why = write_until_failure(*lane_.source);
  EXPECT_EQ(why.code, Errc::disconnected);
  EXPECT_TRUE(why.text().contains("remote access")) << why.text();
}

TEST_F(RdmaFailure, OfAnotherKindSaysWhatTheDeviceSays) {
  next_request_ends(Completion::Fate::failed);
  const Error why = write_until_failure(*lane_.source);
  EXPECT_EQ(why.code, Errc::disconnected);
  EXPECT_TRUE(why.text().contains("as asked")) << why.text();
}

TEST_F(RdmaFailure, OfAQueueThatIsFullIsFinal) {
  pair_.fabric().set_faults({.on_post = [] { return ENOMEM; }});
  const auto first = write_all(*lane_.source, "x");  // posted, so it seemed
  pair_.fabric().set_faults({});
  EXPECT_TRUE(first || code_of(first) == Errc::system);
  EXPECT_EQ(code_of(write_all(*lane_.source, "y")), Errc::system);
  EXPECT_EQ(code_of(read_once(*lane_.source)), Errc::system);
  EXPECT_EQ(code_of(read_once(*lane_.target)), Errc::disconnected);
}

/// In the thread that posts for a device that is slow to be told.
TEST_F(RdmaFailure, OfAQueueThatIsFullIsHeardOfByWhoeverWrites) {
  std::atomic<int> posts = 0;
  const std::thread::id here = std::this_thread::get_id();
  pair_.fabric().set_faults({.on_post = [&] {
    if (++posts > 1 && std::this_thread::get_id() != here) return ENOMEM;
    work_for(std::chrono::milliseconds(1));
    return 0;
  }});
  EXPECT_EQ(write_until_failure(*lane_.source).code, Errc::system);
  EXPECT_EQ(posts, 2);
}

TEST_F(RdmaFailure, ReachesABlockedReader) {
  std::optional<Result<std::string>> read;
  BlockedThread reader([&] { read = read_once(*lane_.source); });
  reader.wait_until_asleep();
  next_request_ends(Completion::Fate::no_answer);
  (void)write_until_failure(*lane_.source);
  reader.join();
  EXPECT_EQ(code_of(*read), Errc::disconnected);
}

// Connecting.

class RdmaConnecting : public testing::Test {
 protected:
  std::string failure(std::function<ConnectionEvent(ConnectionEvent)> on_event) {
    pair_.fabric().set_faults({.on_event = std::move(on_event)});
    const auto lane = pair_.connect();
    return text_of(lane);
  }
  RdmaPair pair_{Device::none};
};

TEST_F(RdmaConnecting, EventsOutOfOrderAreAnError) {
  const std::string text = failure([](ConnectionEvent event) {
    if (event.kind == ConnectionEvent::Kind::address_resolved) {
      event.kind = ConnectionEvent::Kind::established;
    }
    return event;
  });
  EXPECT_TRUE(text.contains("says things out of order")) << text;
}

TEST_F(RdmaConnecting, NobodyThereIsSaidWithARemedy) {
  const std::string text = failure([](ConnectionEvent event) {
    if (event.kind == ConnectionEvent::Kind::established) {
      event.kind = ConnectionEvent::Kind::refused;
    }
    return event;
  });
  EXPECT_TRUE(text.starts_with("connect rdma://127.0.0.1:")) << text;
  EXPECT_TRUE(text.ends_with("connection refused (is migrate-recv listening there?)")) << text;
}

TEST_F(RdmaConnecting, AnAddressOfNoDeviceIsSaid) {
  const std::string text = failure([](ConnectionEvent event) {
    event.kind = ConnectionEvent::Kind::no_device;
    return event;
  });
  EXPECT_TRUE(text.contains("no RDMA device serves this address")) << text;
}

TEST_F(RdmaConnecting, AGreetingThatIsNotOursIsAnError) {
  const std::string text = failure([](ConnectionEvent event) {
    event.greeting.assign(56, std::byte{0x41});
    return event;
  });
  EXPECT_TRUE(text.contains("it is no Ferry")) << text;
}

TEST_F(RdmaConnecting, AHundredTimesLeavesNothingRegistered) {
  for (int round = 0; round < 100; ++round) {
    auto lane = pair_.connect();
    ASSERT_TRUE(lane) << text_of(lane);
    ASSERT_TRUE(write_all(*lane->source, "x"));
  }
  EXPECT_EQ(pair_.fabric().registered_bytes(), 0u);
}

// A peer that says what it must not.

class HostileRdmaPeer : public testing::Test {
 protected:
  void SetUp() override {
    auto listener = runner_.run(transport_->listen(runner_.loop(), at_));
    ASSERT_TRUE(listener) << text_of(listener);
    listener_ = std::move(*listener);
    auto line =
        runner_.run(connect_line(runner_.loop(), *verbs_, domains_, address_of_door(), "connect"));
    ASSERT_TRUE(line) << text_of(line);
    hostile_ = std::move(*line);
    auto channel = runner_.run(listener_->accept());
    ASSERT_TRUE(channel) << text_of(channel);
    ours_ = std::move(*channel);
  }
  void TearDown() override { (void)runner_.run(drop(std::move(listener_))); }
  static Task<void> drop(std::unique_ptr<Listener>) { co_return; }

  SocketAddress address_of_door() {
    std::vector<SocketAddress> own = verbs_->own_addresses();
    return with_port(own.front(), listener_->local().port);
  }
  void say(RdmaWord word, std::vector<std::byte> payload) {
    const RdmaLine::Held held = hostile_->hold();
    hostile_->say(held, word, std::move(payload));
  }
  void expect_a_breach() {
    const auto read = read_once(*ours_);
    EXPECT_EQ(code_of(read), Errc::protocol) << text_of(read);
  }
  static RdmaGrant grant_of(const PageRun& run) {
    RdmaGrant grant;
    grant.run = run;
    grant.address = 4096;
    grant.key = 1;
    return grant;
  }

  Fabric fabric_;
  LoopThread runner_;
  std::shared_ptr<Verbs> verbs_ = fabric_.verbs();
  std::unique_ptr<Transport> transport_ =
      make_rdma_transport_over(fabric_.verbs(), {.most_pinned = 1 << 20});
  const Uri at_ = Uri::parse("rdma://127.0.0.1:0").value();
  std::unique_ptr<Listener> listener_;
  PinningDomains domains_;
  std::unique_ptr<Channel> ours_;
  std::unique_ptr<RdmaLine> hostile_;
};

TEST_F(HostileRdmaPeer, ThatGrantsBeforeItAdmits) {
  say(RdmaWord::grant, encode(grant_of({0, 0, 4096})));
  expect_a_breach();
}

TEST_F(HostileRdmaPeer, ThatAdmitsTwice) {
  say(RdmaWord::admit, encode(RdmaAdmission{.regions = 1}));
  say(RdmaWord::admit, encode(RdmaAdmission{.regions = 1}));
  expect_a_breach();
}

TEST_F(HostileRdmaPeer, ThatGrantsARegionThatItDoesNotHave) {
  say(RdmaWord::admit, encode(RdmaAdmission{.regions = 1}));
  say(RdmaWord::grant, encode(grant_of({1, 0, 4096})));
  expect_a_breach();
}

TEST_F(HostileRdmaPeer, ThatGrantsARegionTwice) {
  say(RdmaWord::admit, encode(RdmaAdmission{.regions = 1}));
  say(RdmaWord::grant, encode(grant_of({0, 0, 4096})));
  say(RdmaWord::grant, encode(grant_of({0, 0, 4096})));
  expect_a_breach();
}

TEST_F(HostileRdmaPeer, ThatGrantsAChunkUnasked) {
  say(RdmaWord::admit, encode(RdmaAdmission{.regions = 1, .chunk_bytes = 65536}));
  say(RdmaWord::grant, encode(grant_of({0, 0, 65536})));
  expect_a_breach();
}

TEST_F(HostileRdmaPeer, ThatAdmitsMoreRegionsThanAnybodyHas) {
  say(RdmaWord::admit, encode(RdmaAdmission{.regions = 1 << 30}));
  expect_a_breach();
}

TEST_F(HostileRdmaPeer, ThatAdmitsChunksOfNoSize) {
  say(RdmaWord::admit, encode(RdmaAdmission{.regions = 1, .chunk_bytes = 4097}));
  expect_a_breach();
}

TEST_F(HostileRdmaPeer, ThatAsksForChunksWhereThereAreNone) {
  say(RdmaWord::request, encode(grant_of({0, 0, 0})));
  expect_a_breach();
}

TEST_F(HostileRdmaPeer, ThatAsksForAChunkThatThereIsNot) {
  const RdmaGuest guest({4 << 20});
  ASSERT_TRUE(ours_->facets().placed_target->admit(guest.memory()));
  say(RdmaWord::request, encode(grant_of({0, 4 << 20, 0})));
  expect_a_breach();
}

TEST_F(HostileRdmaPeer, ThatAsksTwice) {
  const RdmaGuest guest({4 << 20});
  ASSERT_TRUE(ours_->facets().placed_target->admit(guest.memory()));
  say(RdmaWord::request, encode(grant_of({0, 0, 0})));
  say(RdmaWord::request, encode(grant_of({0, 0, 0})));
  expect_a_breach();
}

TEST_F(HostileRdmaPeer, ThatSaysAWordOfAnotherLength) {
  say(RdmaWord::admit, std::vector<std::byte>(5));
  expect_a_breach();
}

TEST_F(HostileRdmaPeer, ThatGoesOnAfterItsFinish) {
  {
    const RdmaLine::Held held = hostile_->hold();
    hostile_->say_finish(held);
    std::string more = "more";
    const iovec piece{more.data(), more.size()};
    IovecWindow window({&piece, 1});
    hostile_->give(held, window);
  }
  EXPECT_EQ(read_once(*ours_), "");  // what was said stays said
  EXPECT_EQ(code_of(write_all(*ours_, "x")), Errc::protocol);
}

}  // namespace
}  // namespace ferry::test
