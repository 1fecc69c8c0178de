#include "tests/session/migration.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "tests/same_bytes.h"
#include "tests/session/memory_guest.h"

namespace ferry::test {
namespace {

/// Says once where a receiver listens, or that it never will.
class Announcement {
 public:
  explicit Announcement(std::shared_ptr<std::promise<std::string>> to) : to_(std::move(to)) {}
  Announcement(const Announcement&) = delete;
  Announcement& operator=(const Announcement&) = delete;
  ~Announcement() { say({}); }
  void say(std::string uri) {
    if (!std::exchange(said_, true)) to_->set_value(std::move(uri));
  }

 private:
  std::shared_ptr<std::promise<std::string>> to_;
  bool said_ = false;
};

}  // namespace

Call::Call(std::function<Outcome(std::stop_token)> body)
    : outcome_(std::async(std::launch::async, std::move(body), stop_.get_token())) {}

Call::~Call() {
  if (outcome_.valid()) stop_.request_stop();
}

Receiving::Receiving(Runtime& runtime, DestinationGuest& guest, std::string at,
                     ReceiveOptions options)
    : Receiving(runtime, guest, std::move(at), std::move(options),
                std::make_shared<std::promise<std::string>>()) {}

Receiving::Receiving(Runtime& runtime, DestinationGuest& guest, std::string at,
                     ReceiveOptions options, std::shared_ptr<std::promise<std::string>> listening)
    : uri_(listening->get_future().share()),
      call_([&runtime, &guest, at = std::move(at), options = std::move(options),
             listening](std::stop_token stop) mutable {
        Announcement announcement(listening);
        options.observer.listening = [&](const Uri& local, Reach) {
          announcement.say(local.text());
        };
        return receive(runtime, guest, at, options, std::move(stop));
      }) {}

Call sending(Runtime& runtime, SourceGuest& guest, std::string uri, SendOptions options) {
  return Call(
      [&runtime, &guest, uri = std::move(uri), options = std::move(options)](std::stop_token stop) {
        return send(runtime, guest, uri, options, std::move(stop));
      });
}

Call sending_over(Runtime& runtime, SourceGuest& guest, std::unique_ptr<Channel> channel,
                  SendOptions options) {
  // Shared, since a std::function must be one that could be copied.
  auto line = std::make_shared<std::unique_ptr<Channel>>(std::move(channel));
  return Call([&runtime, &guest, line, options = std::move(options)](std::stop_token stop) {
    return send_over(runtime, guest, std::move(*line), options, std::move(stop));
  });
}

Call receiving_over(Runtime& runtime, DestinationGuest& guest, std::unique_ptr<Channel> channel,
                    ReceiveOptions options) {
  auto line = std::make_shared<std::unique_ptr<Channel>>(std::move(channel));
  return Call([&runtime, &guest, line, options = std::move(options)](std::stop_token stop) {
    return receive_over(runtime, guest, std::move(*line), options, std::move(stop));
  });
}

Ended migrate(Runtime& runtime, SourceGuest& from, DestinationGuest& to, std::string at,
              const SendOptions& options) {
  Receiving receiving(runtime, to, std::move(at));
  Outcome sent = send(runtime, from, receiving.uri(), options);
  if (!sent.ok()) receiving.stop();
  return {std::move(sent), receiving.outcome()};
}

Ended migrate_over(Runtime& runtime, SourceGuest& from, DestinationGuest& to,
                   std::unique_ptr<Channel> ours, std::unique_ptr<Channel> theirs,
                   const SendOptions& options) {
  Call receiving = receiving_over(runtime, to, std::move(theirs));
  Outcome sent = send_over(runtime, from, std::move(ours), options);
  return {std::move(sent), receiving.outcome()};
}

SendOptions with_channels(unsigned channels) {
  SendOptions options;
  options.channels = channels;
  return options;
}

void expect_handed_over(const Ended& ended, const MemorySource& from, const MemoryDestination& to) {
  EXPECT_TRUE(ended.sent.ok()) << why_not(ended.sent);
  EXPECT_TRUE(ended.received.ok()) << why_not(ended.received);
  EXPECT_EQ(ended.sent.owner, Owner::destination);
  EXPECT_EQ(ended.received.owner, Owner::destination);
  EXPECT_TRUE(identical(from, to));
  EXPECT_EQ(to.prepares(), 1u);
  EXPECT_EQ(to.starts(), 1u);
  EXPECT_EQ(from.pauses(), 1u);
  EXPECT_EQ(from.resumes(), 0u);
  EXPECT_FALSE(from.tracking());
}

void expect_kept(const Outcome& outcome, const MemorySource& from, Errc code,
                 const std::string& text) {
  ASSERT_TRUE(outcome.why_not);
  EXPECT_EQ(outcome.why_not->code, code) << why_not(outcome);
  EXPECT_THAT(why_not(outcome), ::testing::HasSubstr(text));
  EXPECT_EQ(outcome.owner, Owner::source);
  EXPECT_TRUE(from.runs());
  EXPECT_FALSE(from.tracking());
}

void expect_replaced(const Ended& ended, std::uint64_t least) {
  ASSERT_TRUE(ended.sent.ok() && ended.received.ok()) << why_not(ended.sent) << "\n"
                                                      << why_not(ended.received);
  EXPECT_GE(ended.sent.report.replacements, least);
  EXPECT_EQ(ended.sent.report.replacements, ended.received.report.replacements);
}

std::vector<std::byte> counting(std::size_t bytes) {
  std::vector<std::byte> out(bytes);
  for (std::uint64_t at = 0; at + 8 <= bytes; at += 8) std::memcpy(&out[at], &at, 8);
  return out;
}

void give_and_expect(MemorySource& from, MemoryDestination& to, std::span<const std::byte> bytes) {
  from.on_save = [bytes](StateWriter& out) -> Result<void> {
    out.section("accelerator").bytes(bytes);
    return {};
  };
  to.on_load = [bytes](StateReader& in) -> Result<void> {
    std::vector<std::byte> read(FERRY_TRY(in.next())->length);
    FERRY_TRY(in.bytes(read));
    EXPECT_TRUE(same_bytes(read, bytes));
    return {};
  };
}

std::unique_ptr<Runtime> runtime_of_all_transports() { return make_runtime().value(); }

std::string why_not(const Outcome& outcome) {
  return outcome.why_not ? outcome.why_not->text() : "it did not fail";
}

}  // namespace ferry::test
