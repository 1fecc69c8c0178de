// Whatever is under way beside each other, each run is dealt with once, in order, and with its own
// bytes.
#include "snapshot/lane_pipeline.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "channels/file_place.h"
#include "memory/region_io.h"
#include "tests/image/temp_folder.h"
#include "tests/same_bytes.h"

namespace ferry::test {
namespace {

constexpr std::uint64_t k_units = 8000;

/// A file's bytes, no unit like another.
std::string numbered_units() {
  std::string bytes(k_units * k_unit_bytes, '\0');
  for (std::uint64_t unit = 0; unit < k_units; ++unit) {
    bytes.replace(unit * k_unit_bytes, 8, fmt::format("{:08}", unit));
  }
  return bytes;
}

class Pipelined : public testing::TestWithParam<unsigned> {
 protected:
  void SetUp() override {
    write_file(folder_ / "from", content_);
    from_ = UniqueFd(::open((folder_ / "from").c_str(), O_RDONLY | O_CLOEXEC));
    outside_.push_back(
        {.name = "from", .length = content_.size(), .backing = Backing::file, .fd = from_.get()});
    auto place = create_file_place(folder_ / "to", content_.size(), {.depth = GetParam()});
    ASSERT_TRUE(place) << place.error().text();
    place_ = *std::move(place);
    auto lane = place_->lane({0}, outside_);
    ASSERT_TRUE(lane) << lane.error().text();
    pipeline_.emplace(*std::move(lane), clock_,
                      [this](const auto& read) { return deal_with(read); });
  }

  /// By turns: with no put, with one of all of it, and with many short ones, as data and zeros by
  /// turns take.
  Result<void> deal_with(const LanePipeline::Read& read) {
    dealt_with_.push_back(read.run.offset);
    const auto wanted =
        std::as_bytes(std::span(content_)).subspan(read.run.offset, read.run.length);
    EXPECT_TRUE(same_bytes(read.bytes, wanted)) << "at " << read.run.offset;
    const std::size_t way = all_whole_ ? 2 : dealt_with_.size() % 4;
    if (way == 0) return {};
    const std::uint64_t piece = way == 1 ? k_unit_bytes : read.run.length;
    for (std::uint64_t at = 0; at < read.run.length; at += piece) {
      const PageRun run{0, read.run.offset + at, piece};
      FERRY_TRY(pipeline_->put(run, read.bytes.subspan(at, piece)));
      put_.push_back(run);
    }
    return {};
  }

  /// The run with this number: so many units, read by the lane or filled by the test.
  struct Run {
    std::uint64_t units = 0;
    bool by_lane = true;
  };

  template <class RunAt>
  void move_all(RunAt run_at) {
    std::vector<std::uint64_t> begun;
    for (std::uint64_t at = 0; at < content_.size();) {
      const Run next = run_at(begun.size());
      const std::uint64_t length =
          std::min<std::uint64_t>(next.units * k_unit_bytes, content_.size() - at);
      const PageRun run{0, at, length};
      const auto read = pipeline_->begin(run, {}, length);
      ASSERT_TRUE(read) << read.error().text();
      if (next.by_lane) {
        ASSERT_TRUE(pipeline_->get({1, at, length}, *read));
      } else {
        ASSERT_TRUE(view(outside_[0], run, read->bytes));
        ASSERT_TRUE(pipeline_->got(*read));
      }
      begun.push_back(at);
      at += length;
    }
    ASSERT_TRUE(pipeline_->finish());
    std::ranges::sort(begun);
    in_order_ = std::ranges::is_sorted(dealt_with_);
    std::ranges::sort(dealt_with_);
    EXPECT_EQ(dealt_with_, begun) << "each once";
    check_all_that_was_put();
  }

  void check_all_that_was_put() {
    std::uint64_t bytes = 0;
    for (const PageRun& run : put_) {
      std::vector<std::byte> there(run.length);
      ASSERT_TRUE(place_->read(run.offset, there));
      ASSERT_TRUE(
          same_bytes(there, std::as_bytes(std::span(content_)).subspan(run.offset, run.length)))
          << "at " << run.offset;
      bytes += run.length;
    }
    EXPECT_GT(bytes, content_.size() / 2);
  }

  const TempFolder folder_;
  const std::string content_ = numbered_units();
  UniqueFd from_;
  std::vector<MemoryRegion> outside_;
  std::unique_ptr<NewPlace> place_;
  PhaseClock clock_;
  std::optional<LanePipeline> pipeline_;
  std::vector<std::uint64_t> dealt_with_;
  std::vector<PageRun> put_;
  bool all_whole_ = false;  // one put each
  bool in_order_ = false;
};

/// Many lengths.
std::uint64_t units_of(std::size_t run) { return 1 + run * 7 % 64; }

TEST_P(Pipelined, RunsOfTheLaneAreDealtWithInTheirOrder) {
  move_all([](std::size_t run) { return Run{units_of(run), true}; });
  EXPECT_TRUE(in_order_);
}

TEST_P(Pipelined, RunsOfTheCallerAreDealtWithInTheirOrder) {
  move_all([](std::size_t run) { return Run{units_of(run), false}; });
  EXPECT_TRUE(in_order_);
}

TEST_P(Pipelined, RunsOfBothKeepTheirBytes) {
  move_all([](std::size_t run) { return Run{units_of(run), run % 3 != 0}; });
}

// What the caller fills is written before what the lane began to read earlier: its buffer is given
// back, and still has no room for another.
TEST_P(Pipelined, LargeRunsOfTheCallerBehindThoseOfTheLaneKeepTheirBytes) {
  all_whole_ = true;
  move_all([](std::size_t run) { return Run{192, run != 2 && run != 3}; });
}

TEST_P(Pipelined, AnyMixKeepsItsBytes) {
  std::mt19937 random(GetParam());  // always the same
  move_all([&](std::size_t) { return Run{1 + random() % 256, random() % 3 != 0}; });
}

TEST_P(Pipelined, AFailedReadIsTheEnd) {
  const auto read = pipeline_->begin({0, 0, k_unit_bytes}, {}, k_unit_bytes);
  ASSERT_TRUE(read);
  ASSERT_TRUE(pipeline_->get({1, content_.size(), k_unit_bytes}, *read));
  const auto done = pipeline_->finish();
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Errc::system);
  EXPECT_TRUE(dealt_with_.empty());
}

INSTANTIATE_TEST_SUITE_P(AtDepth, Pipelined, testing::Values(1u, 2u, 3u, 8u, 32u, 64u),
                         testing::PrintToStringParamName());

}  // namespace
}  // namespace ferry::test
