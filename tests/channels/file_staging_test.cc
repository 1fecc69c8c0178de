#include "channels/file_staging.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <deque>
#include <random>

namespace ferry::test {
namespace {

constexpr std::size_t k_kib = 1024;

bool overlap(std::span<const std::byte> a, std::span<const std::byte> b) {
  return a.data() < b.data() + b.size() && b.data() < a.data() + a.size();
}

class AFileStaging : public testing::Test {
 protected:
  AFileStaging() : staging_(std::move(*FileStaging::create())) {}
  /// A piece that the next move uses.
  std::optional<std::span<std::byte>> use(std::size_t bytes) {
    const auto piece = staging_.take(bytes, settled_);
    if (piece) staging_.use(*piece, ++moves_);
    return piece;
  }

  FileStaging staging_;
  std::uint64_t moves_ = 0;
  std::uint64_t settled_ = 0;
};

TEST_F(AFileStaging, HasRoomForAsManyShortPiecesAsFitIntoIt) {
  for (std::size_t used = 0; used < FileStaging::k_bytes; used += 64 * k_kib) {
    ASSERT_TRUE(use(64 * k_kib)) << used;
  }
  EXPECT_FALSE(use(64 * k_kib));
  settled_ = 1;
  EXPECT_FALSE(use(128 * k_kib)) << "the oldest was shorter";
  EXPECT_TRUE(use(64 * k_kib));
}

TEST_F(AFileStaging, GivesAPieceAgainThatNothingUsed) {
  const auto first = staging_.take(4 * k_kib, settled_);
  const auto second = staging_.take(8 * k_kib, settled_);
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first->data(), second->data());
}

TEST_F(AFileStaging, KeepsAPieceForTheLastOfItsMoves) {
  const auto piece = staging_.take(256 * k_kib, settled_);
  ASSERT_TRUE(piece);
  staging_.use(piece->first(4 * k_kib), ++moves_);
  staging_.use(piece->last(4 * k_kib), ++moves_);
  settled_ = 1;
  const auto other = use(4 * k_kib);
  ASSERT_TRUE(other);
  EXPECT_FALSE(overlap(*piece, *other));
}

TEST_F(AFileStaging, LetsMemoryThatIsNotItsOwnBe) {
  std::array<std::byte, 64> elsewhere{};
  staging_.use(elsewhere, ++moves_);
  EXPECT_TRUE(use(4 * k_kib));
}

TEST_F(AFileStaging, HasRoomForWhatIsPromisedAndNeverLendsAPieceTwice) {
  std::mt19937 random(5);
  std::deque<std::span<std::byte>> lent;
  std::size_t used = 0;
  const auto settle_oldest = [&] {
    used -= lent.front().size();
    lent.pop_front();
    ++settled_;
  };
  for (int trial = 0; trial < 20'000; ++trial) {
    const std::size_t bytes =
        (1 + random() % (FileStaging::k_piece_bytes / (4 * k_kib))) * 4 * k_kib;
    while (used + bytes > FileStaging::k_staged_bytes) settle_oldest();
    while (!lent.empty() && random() % 8 == 0) settle_oldest();
    const auto piece = use(bytes);
    ASSERT_TRUE(piece) << "with " << used << " bytes in use";
    ASSERT_EQ(reinterpret_cast<std::uintptr_t>(piece->data()) % k_unit_bytes, 0u);
    ASSERT_TRUE(std::ranges::none_of(lent, [&](auto other) { return overlap(*piece, other); }));
    ASSERT_LE(piece->data() + bytes, staging_.all().data() + staging_.all().size());
    lent.push_back(*piece);
    used += bytes;
  }
}

}  // namespace
}  // namespace ferry::test
