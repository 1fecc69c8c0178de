// What a lane of a file makes of an engine that does not do all that it was asked for.
#include "channels/file_lane.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <deque>
#include <optional>
#include <vector>

namespace ferry::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// Answers as a script says, and notes what it was asked. The request that came last ends first.
class ScriptedEngine final : public FileEngine {
 public:
  struct Script {
    std::deque<std::int64_t> results;  ///< of the requests that end; none left: all of its bytes
    std::vector<std::uint64_t> offsets;
    std::vector<std::size_t> lengths;
    std::vector<int> fds;
    std::size_t most_under_way = 0;
  };
  explicit ScriptedEngine(Script& script) : script_(script) {}

  Result<void> submit(const FileRequest& request) override {
    script_.offsets.push_back(request.offset);
    script_.lengths.push_back(request.bytes.size());
    script_.fds.push_back(request.fd);
    under_way_.push_back(request);
    script_.most_under_way = std::max(script_.most_under_way, under_way_.size());
    return {};
  }
  Result<FileCompletion> wait() override {
    const FileRequest request = under_way_.back();
    under_way_.pop_back();
    auto result = static_cast<std::int64_t>(request.bytes.size());
    if (!script_.results.empty()) {
      result = script_.results.front();
      script_.results.pop_front();
    }
    return FileCompletion{request.cookie, result};
  }
  FileEngineKind kind() const noexcept override { return FileEngineKind::threads; }

 private:
  Script& script_;
  std::vector<FileRequest> under_way_;
};

class AFileLane : public testing::Test {
 protected:
  AFileLane() {
    auto lane =
        FileLane::create({.regions = {{file_, 4096}, {file_, 1 << 20}, {output_, 0}}, .depth = 3},
                         [this](std::span<std::byte>) -> Result<std::unique_ptr<FileEngine>> {
                           return std::make_unique<ScriptedEngine>(script_);
                         });
    EXPECT_TRUE(lane);
    lane_ = std::move(*lane);
  }
  Result<void> put(std::uint64_t offset, std::uint64_t units = 1) {
    auto staging = lane_->staging(units * k_unit_bytes);
    if (!staging) return std::unexpected(staging.error());
    return lane_->put({1, offset, units * k_unit_bytes}, *staging);
  }

  const FileLane::File file_{.fd = 1007, .shown_as = "/a"};
  const FileLane::File output_{.fd = 1008, .shown_as = "out", .cached = 1009};
  ScriptedEngine::Script script_;
  std::unique_ptr<FileLane> lane_;
};

TEST_F(AFileLane, GoesOnWhereAWriteWasShort) {
  script_.results = {4096, -EINTR, 4096, -EAGAIN, 4096};
  ASSERT_TRUE(put(8192, 3));
  ASSERT_TRUE(lane_->flush());
  const std::uint64_t begin = (1 << 20) + 8192;
  EXPECT_THAT(script_.offsets,
              ElementsAre(begin, begin + 4096, begin + 4096, begin + 8192, begin + 8192));
  EXPECT_THAT(script_.lengths, ElementsAre(12288, 8192, 8192, 4096, 4096));
}

TEST_F(AFileLane, IsNotPutOffForEver) {
  script_.results.assign(100'000, -EAGAIN);
  ASSERT_TRUE(put(0));
  EXPECT_EQ(lane_->flush().error().sys, EAGAIN);
  EXPECT_GT(script_.offsets.size(), 100u);
  EXPECT_LT(script_.offsets.size(), 10'000u);
}

TEST_F(AFileLane, KeepsTheFirstFailureAndNamesIt) {
  script_.results = {4096, -ENOSPC};  // of the second, then of the first
  ASSERT_TRUE(put(0));
  ASSERT_TRUE(put(4096));
  const auto flushed = lane_->flush();
  ASSERT_FALSE(flushed);
  EXPECT_EQ(flushed.error().code, Errc::system);
  EXPECT_EQ(flushed.error().sys, ENOSPC);
  EXPECT_THAT(
      flushed.error().text(),
      HasSubstr("write '/a' at offset 0x100000: no space left on device (is the disk full?)"));
  EXPECT_FALSE(put(0));
  EXPECT_EQ(lane_->staging(k_unit_bytes).error().sys, ENOSPC);
  EXPECT_EQ(lane_->flush().error().sys, ENOSPC);
}

TEST_F(AFileLane, AWriteThatTakesNothingIsAFailure) {
  script_.results = {0};
  ASSERT_TRUE(put(0));
  EXPECT_THAT(lane_->settle().error().text(), HasSubstr("nothing was taken"));
}

TEST_F(AFileLane, AFileThatBecameShorterIsAFailure) {
  script_.results = {4096, 0};
  std::vector<std::byte> into(8192);
  ASSERT_TRUE(lane_->get({0, 0, into.size()}, into));
  EXPECT_THAT(lane_->settle().error().text(),
              HasSubstr("at offset 0x2000: the file became shorter"));
}

TEST_F(AFileLane, PutsOnIntoAnotherFileWhatItGot) {
  const auto staging = lane_->staging(8192);
  ASSERT_TRUE(staging);
  ASSERT_TRUE(lane_->get({0, 0, 8192}, *staging));
  ASSERT_TRUE(lane_->settle());
  ASSERT_TRUE(lane_->put({2, 4096, 4096}, staging->first(4096)));
  const auto other = lane_->staging(8192);
  ASSERT_TRUE(other);
  EXPECT_NE(other->data(), staging->data()) << "it is still being written";
  ASSERT_TRUE(lane_->flush());
  EXPECT_THAT(script_.fds, ElementsAre(1007, 1008));
  EXPECT_THAT(script_.offsets, ElementsAre(4096, 4096));
}

TEST_F(AFileLane, WhatAFileSystemRefusesPastThePageCacheGoesThroughIt) {
  script_.results = {-EINVAL, 4096};
  std::vector<std::byte> bytes(4096);
  ASSERT_TRUE(lane_->put({2, 0, 4096}, bytes));
  ASSERT_TRUE(lane_->flush());
  EXPECT_THAT(script_.fds, ElementsAre(1008, 1009));
}

TEST_F(AFileLane, ARefusalIsAFailureWhereThereIsNoOtherWay) {
  script_.results = {-EINVAL, -EINVAL, -EINVAL};
  std::vector<std::byte> bytes(4096);
  ASSERT_TRUE(lane_->put({0, 0, 4096}, bytes));
  EXPECT_EQ(lane_->settle().error().sys, EINVAL);
  EXPECT_THAT(script_.fds, ElementsAre(1007));
}

TEST_F(AFileLane, AFailureNamesTheFileThatFailed) {
  script_.results = {-ENOSPC};
  std::vector<std::byte> bytes(4096);
  ASSERT_TRUE(lane_->put({2, 0, 4096}, bytes));
  EXPECT_THAT(lane_->settle().error().text(), HasSubstr("write 'out' at offset 0x0: no space"));
}

TEST_F(AFileLane, NeverHasMoreUnderWayThanItsDepth) {
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(put(0));
  EXPECT_EQ(script_.most_under_way, 3u);
  ASSERT_TRUE(lane_->flush());
  EXPECT_EQ(lane_->under_way(), 0u);
}

TEST_F(AFileLane, GivesNoBufferThatIsStillBeingWritten) {
  std::deque<std::byte*> lent;
  for (int i = 0; i < 20; ++i) {
    const auto staging = lane_->staging(k_unit_bytes);
    ASSERT_TRUE(staging);
    while (lent.size() > lane_->under_way()) lent.pop_front();
    EXPECT_THAT(lent, testing::Not(testing::Contains(staging->data())));
    ASSERT_TRUE(lane_->put({0, 0, k_unit_bytes}, staging->first(k_unit_bytes)));
    lent.push_back(staging->data());
  }
}

TEST_F(AFileLane, ABufferThatWasNotUsedIsGivenAgain) {
  const auto first = lane_->staging(k_unit_bytes);
  const auto second = lane_->staging(k_unit_bytes);
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first->data(), second->data());
}

}  // namespace
}  // namespace ferry::test
