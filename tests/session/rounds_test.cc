// What a round does before its lanes come to it.
#include "session/rounds.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/image/temp_folder.h"
#include "tests/session/migration.h"

namespace ferry::test {
namespace {

/// Looks at each run as it comes.
class LookingRecipient final : public Recipient, private StateSink {
 public:
  std::function<void(const PageRun&, Content)> look;
  bool gone = false;

  Result<void> layout(const Layout&) override { return {}; }
  Result<void> begin_round(std::uint32_t, Motion) override { return {}; }
  Result<void> submit(const PageRun& run, Content content) override {
    look(run, content);
    return {};
  }
  Result<void> end_round(std::uint32_t, DirtyBitmap&) override { return {}; }
  StateSink& state() override { return *this; }
  LineFigures line() const override { return {}; }
  Result<void> prepare(std::vector<wire::Digest>) override { return {}; }
  Result<void> check() const override {
    if (gone) return fail(Errc::disconnected, "gone");
    return {};
  }
  Result<void> commit(const OwnerToken&) override { return {}; }

 private:
  Result<void> begin_section(std::string_view, std::uint32_t) override { return {}; }
  Result<void> append(std::span<const std::byte>) override { return {}; }
  Result<void> end_section(std::uint64_t, std::uint64_t) override { return {}; }
};

/// Knows what it watches, and lets a test write while it begins to.
class PartByPart final : public DirtyTracker, private GradualTracking {
 public:
  explicit PartByPart(const Layout& layout) : watched(layout) {}
  Result<void> start() override { return fail(Errc::guest, "all at once"); }
  Result<void> harvest(DirtyBitmap&) override { return {}; }
  void stop() noexcept override {}
  GradualTracking* gradual() noexcept override { return this; }

  DirtyBitmap watched;
  std::function<void(const PageRun&)> before_watching = [](const PageRun&) {};

 private:
  Result<void> begin() override { return {}; }
  Result<void> watch(const PageRun& run) override {
    before_watching(run);
    EXPECT_FALSE(watched.test_and_mark(run)) << "each part once";
    return {};
  }
};

class GradualGuest final : public SourceGuest {
 public:
  explicit GradualGuest(GuestMemory memory)
      : memory_(std::move(memory)), tracker_(memory_.layout()) {}
  const GuestMemory& memory() override { return memory_; }
  DirtyTracker& dirty_tracker() override { return tracker_; }
  Result<void> pause() override { return {}; }
  Result<void> resume() override { return {}; }
  PartByPart& tracker() { return tracker_; }

 private:
  GuestMemory memory_;
  PartByPart tracker_;
};

/// 40 MiB of data, and a hole of as much behind it. A part is 16 MiB, wherever it lies.
class PartsOfMemory : public testing::Test {
 protected:
  static constexpr std::uint64_t k_data = 40 * k_mib;
  static constexpr std::uint64_t k_all = 2 * k_data;
  static constexpr std::uint64_t k_part = 16 * k_mib;

  void SetUp() override {
    write_file(folder_ / "a", std::string(k_data, 'x'));
    file_.reset(::open((folder_ / "a").c_str(), O_RDWR | O_CLOEXEC));
    ASSERT_EQ(::ftruncate(file_.get(), k_all), 0);
    auto memory = GuestMemory::create(
        {{.name = "a", .length = k_all, .backing = Backing::file, .fd = file_.get()}});
    ASSERT_TRUE(memory);
    guest_.emplace(*std::move(memory));
    recipient_.look = [&](const PageRun& run, Content content) {
      DirtyBitmap handed_on(guest_->memory().layout());
      handed_on.mark(run);
      handed_on.merge(guest_->tracker().watched);
      EXPECT_EQ(handed_on.count(), guest_->tracker().watched.count()) << "read before watched";
      (content == Content::data ? data_bytes_ : zero_bytes_) += run.length;
    };
  }
  void send_everything() {
    Rounds rounds(*guest_, recipient_);
    ASSERT_TRUE(rounds.start_tracking());
    const auto sent = rounds.send_everything();
    ASSERT_TRUE(sent) << sent.error().text();
    EXPECT_TRUE(guest_->tracker().watched.all());
  }

  const TempFolder folder_;
  UniqueFd file_;
  std::optional<GradualGuest> guest_;
  LookingRecipient recipient_;
  std::uint64_t data_bytes_ = 0;
  std::uint64_t zero_bytes_ = 0;
};

TEST_F(PartsOfMemory, AreEachWatchedBeforeTheyAreHandedOn) {
  std::uint64_t most_ahead = 0;
  guest_->tracker().before_watching = [&](const PageRun& run) {
    if (run.offset < k_data) {
      most_ahead = std::max(most_ahead, run.offset + run.length - data_bytes_);
    }
  };
  send_everything();
  EXPECT_EQ(data_bytes_, k_data);
  EXPECT_EQ(zero_bytes_, k_data);
  EXPECT_LE(most_ahead, k_part) << "no earlier than need be";
}

TEST_F(PartsOfMemory, SayOfTheFirstRoundAloneThatNotAllWritesAreKnown) {
  Rounds rounds(*guest_, recipient_);
  ASSERT_TRUE(rounds.start_tracking());
  ASSERT_TRUE(rounds.send_everything());
  ASSERT_TRUE(rounds.harvest());
  EXPECT_EQ(rounds.figures().watched, Watched::part_by_part);
  ASSERT_TRUE(rounds.send_owed(Motion::running));
  ASSERT_TRUE(rounds.harvest());
  EXPECT_EQ(rounds.figures().watched, Watched::throughout);
}

TEST_F(PartsOfMemory, AreWatchedTogetherWhereMemoryIsInManyPieces) {
  for (std::uint64_t at = 0; at < k_data; at += 2 * 64 * 1024) {
    ASSERT_EQ(::fallocate(file_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                          static_cast<off_t>(at), 64 * 1024),
              0);
  }
  std::vector<PageRun> parts;
  guest_->tracker().before_watching = [&](const PageRun& run) { parts.push_back(run); };
  send_everything();
  EXPECT_EQ(data_bytes_, k_data / 2);
  EXPECT_EQ(data_bytes_ + zero_bytes_, k_all);
  EXPECT_EQ(parts, (std::vector<PageRun>{{0, 0 * k_part, k_part},
                                         {0, 1 * k_part, k_part},
                                         {0, 2 * k_part, k_part},
                                         {0, 3 * k_part, k_part},
                                         {0, 4 * k_part, k_part}}));
}

TEST_F(PartsOfMemory, OfAHoleAreNotAllWatchedWhenTimeIsUp) {
  Rounds rounds(*guest_, recipient_);
  std::uint64_t last = 0;
  guest_->tracker().before_watching = [&](const PageRun& run) {
    last = run.offset;
    if (run.offset >= k_data) rounds.end_by(Clock::now() - std::chrono::seconds(1));
  };
  ASSERT_TRUE(rounds.start_tracking());
  const auto sent = rounds.send_everything();
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().code, Errc::not_converging);
  EXPECT_EQ(last, 3 * k_part) << "the first that lies in the hole in whole";
}

TEST_F(PartsOfMemory, OfAHoleAreNotAllWatchedWhenNobodyReceivesAnyMore) {
  std::uint64_t last = 0;
  guest_->tracker().before_watching = [&](const PageRun& run) {
    last = run.offset;
    recipient_.gone = run.offset >= k_data;
  };
  Rounds rounds(*guest_, recipient_);
  ASSERT_TRUE(rounds.start_tracking());
  const auto sent = rounds.send_everything();
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().code, Errc::disconnected);
  EXPECT_EQ(last, 3 * k_part);
}

TEST_F(PartsOfMemory, AreNoHolesWhenTheGuestFillsThemBeforeTheyAreWatched) {
  guest_->tracker().before_watching = [&](const PageRun& run) {
    if (run.offset < k_data) return;
    ASSERT_EQ(::pwrite(file_.get(), "x", 1, k_all - 1), 1);
  };
  send_everything();
  EXPECT_GE(data_bytes_, k_data + k_unit_bytes);
  EXPECT_EQ(data_bytes_ + zero_bytes_, k_all);
}

}  // namespace
}  // namespace ferry::test
