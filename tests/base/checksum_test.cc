#include "base/checksum.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <utility>
#include <vector>

namespace ferry {
namespace {

std::vector<std::byte> noise(std::size_t count) {
  std::mt19937 random(7);
  std::vector<std::byte> out(count);
  std::ranges::generate(out, [&random] { return static_cast<std::byte>(random()); });
  return out;
}

// From the reference implementation; they are part of the wire format and may not change.
TEST(Checksum, IsXxh3OfSeedZero) {
  EXPECT_EQ(xxh3_64({}), 0x2d06800538d394c2u);
  EXPECT_EQ(xxh3_64(std::vector<std::byte>(4096)), 0x93d76fe148c689bau);
}

TEST(Checksum, SeesEverySingleFlippedBitOfAUnit) {
  auto unit = noise(4096);
  const std::uint64_t sound = xxh3_64(unit);
  for (std::size_t bit = 0; bit < 8 * unit.size(); ++bit) {
    const auto flip = std::byte{1} << (bit % 8);
    unit[bit / 8] ^= flip;
    EXPECT_NE(xxh3_64(unit), sound) << "bit " << bit;
    unit[bit / 8] ^= flip;
  }
}

TEST(Chain, IsTheChecksumOfBothNumbersLittleEndian) {
  const std::vector<std::byte> link{std::byte{1}, {}, {}, {}, {}, {}, {}, std::byte{2},
                                    std::byte{3}, {}, {}, {}, {}, {}, {}, std::byte{4}};
  EXPECT_EQ(chain(0x0200000000000001, 0x0400000000000003), xxh3_64(link));
}

TEST(Chain, DependsOnTheOrder) { EXPECT_NE(chain(chain(0, 1), 2), chain(chain(0, 2), 1)); }

TEST(StreamDigest, OfNothingIsXxh3OfNothing) {
  const std::array<unsigned char, 16> expected{0x99, 0xaa, 0x06, 0xd3, 0x01, 0x47, 0x98, 0xd8,
                                               0x60, 0x01, 0xc3, 0x24, 0x46, 0x8d, 0x49, 0x7f};
  EXPECT_TRUE(std::ranges::equal(StreamDigest().value(), std::as_bytes(std::span(expected))));
}

TEST(StreamDigest, DoesNotDependOnWhereThePiecesAreCut) {
  const auto bytes = noise(10'000);
  StreamDigest whole;
  whole.update(bytes);
  for (const std::size_t piece : {1, 7, 64, 255, 256, 257, 4096}) {
    StreamDigest pieces;
    for (std::size_t at = 0; at < bytes.size(); at += piece) {
      pieces.update(std::span(bytes).subspan(at, std::min(piece, bytes.size() - at)));
      pieces.update({});
    }
    EXPECT_EQ(pieces.value(), whole.value()) << "pieces of " << piece;
  }
}

TEST(StreamDigest, GoesOnAfterItsValueWasTakenAndAfterAMove) {
  const auto bytes = noise(1000);
  StreamDigest whole;
  whole.update(bytes);

  StreamDigest first;
  first.update(std::span(bytes).first(300));
  EXPECT_NE(first.value(), whole.value());
  StreamDigest second = std::move(first);
  second.update(std::span(bytes).subspan(300));
  EXPECT_EQ(second.value(), whole.value());
}

}  // namespace
}  // namespace ferry
