// What every channel with a Pollable facet promises.
#include <gtest/gtest.h>

#include <cerrno>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "tests/channels/io.h"
#include "tests/conformance/connected.h"

namespace ferry::test {
namespace {

using Step = Pollable::Step;

Result<Step> try_write(Pollable& pollable, std::string_view data) {
  const iovec piece{const_cast<char*>(data.data()), data.size()};
  return pollable.try_write_some({&piece, 1});
}

Result<Step> try_read(Pollable& pollable, std::string& into) {
  const iovec piece{into.data(), into.size()};
  return pollable.try_read_some({&piece, 1});
}

class PollableConformance : public Connected {
 protected:
  void SetUp() override {
    Connected::SetUp();
    if (!there()) return;
    pollable_ = ours_->facets().pollable;
    ASSERT_NE(pollable_, nullptr);
  }

  /// Writes until there is no room. Returns how much there was.
  std::size_t fill() {
    const std::string chunk(64 * 1024, 'x');
    for (std::size_t sum = 0;;) {
      const Result<Step> step = try_write(*pollable_, chunk);
      if (!step) {
        ADD_FAILURE() << step.error().text();
        return sum;
      }
      if (step->bytes == 0) {
        // To write, or, where the line needs the peer's word for it, to read.
        EXPECT_NE(step->wait_for, Interest::none);
        return sum;
      }
      sum += step->bytes;
    }
  }

  Pollable* pollable_ = nullptr;
};

INSTANTIATE_TEST_SUITE_P(Every, PollableConformance, testing::ValuesIn(every_pollable_channel()),
                         [](const auto& kind) { return kind.param.name; });

TEST_P(PollableConformance, AReadOfNothingSaysWhatToWaitFor) {
  std::string room(10, '\0');
  const Result<Step> step = try_read(*pollable_, room);
  ASSERT_TRUE(step);
  EXPECT_EQ(step->bytes, 0u);
  EXPECT_EQ(step->wait_for, Interest::read);
}

TEST_P(PollableConformance, AFullLineSaysWhatToWaitFor) { EXPECT_GT(fill(), 0u); }

TEST_P(PollableConformance, AFinishIsNotAWait) {
  ASSERT_TRUE(theirs_->finish());
  ASSERT_EQ(read_once(*ours_), "");  // it has arrived
  std::string room(10, '\0');
  const Result<Step> step = try_read(*pollable_, room);
  ASSERT_TRUE(step);
  EXPECT_EQ(step->bytes, 0u);
  EXPECT_EQ(step->wait_for, Interest::none);
}

TEST_P(PollableConformance, CancelFailsItWithTheReason) {
  ours_->cancel(Errc::timed_out);
  std::string room(10, '\0');
  EXPECT_EQ(code_of(try_read(*pollable_, room)), Errc::timed_out);
  EXPECT_EQ(code_of(try_write(*pollable_, "x")), Errc::timed_out);
}

TEST_P(PollableConformance, TheDescriptorStaysBlocking) {
  fill();
  std::string room(10, '\0');
  ASSERT_TRUE(try_read(*pollable_, room));
  std::optional<Result<std::string>> outcome;
  BlockedThread reader([&] { outcome = read_once(*ours_); });
  reader.wait_until_asleep();
  ASSERT_TRUE(write_all(*theirs_, "late"));
  reader.join();
  EXPECT_EQ(*outcome, "late");
}

/// A part of the chunk that did not go may be on its way already: the blocking write goes on there.
TEST_P(PollableConformance, AWriteGoesOnWhereATryHadNoRoom) {
  const std::string chunk = noise(200'000, 6);
  std::string sent;
  for (;;) {
    const Result<Step> step = try_write(*pollable_, chunk);
    ASSERT_TRUE(step) << step.error().text();
    if (step->bytes == 0) break;
    sent.append(chunk, 0, step->bytes);
  }
  sent += chunk + "and more";
  std::optional<Result<std::string>> got;
  std::jthread reader([&] { got = read_all(*theirs_, sent.size()); });
  const auto written = write_all(*ours_, chunk);
  EXPECT_TRUE(written) << text_of(written);
  EXPECT_TRUE(write_all(*ours_, "and more"));
  if (!written) ours_->cancel();  // else the reader waits for what never comes
  reader.join();
  EXPECT_TRUE(*got && **got == sent);
}

Task<std::string> read_on_the_loop(EventLoop& loop, Pollable& from) {
  std::string all;
  for (;;) {
    std::string room(1000, '\0');
    Step step = co_await try_read(from, room);
    if (step.wait_for != Interest::none) {
      co_await loop.ready(from.fd(), step.wait_for);
    } else if (step.bytes == 0) {
      co_return std::move(all);
    } else {
      all.append(room, 0, step.bytes);
    }
  }
}

Task<void> write_on_the_loop(EventLoop& loop, Pollable& to, std::string data) {
  for (std::size_t at = 0; at < data.size();) {
    std::string_view rest(data);
    rest.remove_prefix(at);
    Step step = co_await try_write(to, rest);
    at += step.bytes;
    if (step.wait_for != Interest::none) co_await loop.ready(to.fd(), step.wait_for);
  }
}

TEST_P(PollableConformance, ATaskReadsToTheEnd) {
  const std::string sent = noise(300'000, 4);
  std::jthread writer([&] {
    ASSERT_TRUE(write_all(*theirs_, sent));
    ASSERT_TRUE(theirs_->finish());
  });
  const auto got = runner_.run(read_on_the_loop(runner_.loop(), *pollable_));
  EXPECT_TRUE(got && *got == sent);
}

TEST_P(PollableConformance, ATaskWritesMoreThanTheLineHolds) {
  const std::string sent = noise(8 << 20, 5);
  std::optional<Result<std::string>> got;
  std::jthread reader([&] { got = read_all(*theirs_, sent.size()); });
  const auto written = runner_.run(write_on_the_loop(runner_.loop(), *pollable_, sent));
  EXPECT_TRUE(written);
  if (!written) ours_->cancel();  // else the reader waits for what never comes
  reader.join();
  EXPECT_TRUE(*got && **got == sent);
}

}  // namespace
}  // namespace ferry::test
