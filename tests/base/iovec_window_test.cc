#include "base/iovec_window.h"

#include <gtest/gtest.h>
#include <limits.h>

#include <string>
#include <vector>

#include "tests/channels/io.h"

namespace ferry::test {
namespace {

std::string text_in(std::span<const iovec> pieces) {
  std::string text;
  for (const iovec& piece : pieces) text.append(static_cast<char*>(piece.iov_base), piece.iov_len);
  return text;
}

TEST(IovecWindow, BorrowsTheListWhereItCan) {
  const std::vector<iovec> pieces = pieces_of("abcdef", 2);
  IovecWindow window(pieces);
  EXPECT_EQ(window.window().data(), pieces.data());
  window.advance(2);
  EXPECT_EQ(window.window().data(), pieces.data() + 1);
}

TEST(IovecWindow, EndsWhenAllIsTaken) {
  const std::vector<iovec> pieces = pieces_of("abcdef", 2);
  IovecWindow window(pieces);
  window.advance(6);
  EXPECT_TRUE(window.done());
  EXPECT_TRUE(IovecWindow({}).done());
}

TEST(IovecWindow, NeverBeginsWithAnEmptyPiece) {
  std::string text = "x";
  std::vector<iovec> pieces(2 * IOV_MAX, iovec{nullptr, 0});
  pieces.push_back({text.data(), 1});
  pieces.push_back({nullptr, 0});
  IovecWindow window(pieces);
  EXPECT_EQ(text_in(window.window()), "x");
  window.advance(1);
  EXPECT_TRUE(window.done());
}

TEST(IovecWindow, HoldsNoMorePiecesThanTheKernelTakes) {
  const std::string text(IOV_MAX + 1, 'x');
  const std::vector<iovec> pieces = pieces_of(text, 1);
  IovecWindow window(pieces);
  EXPECT_EQ(window.window().size(), static_cast<std::size_t>(IOV_MAX));
}

TEST(IovecWindow, GivesEveryByteOnceWhereverItIsCut) {
  const std::string text = noise(200, 7);
  for (std::size_t piece = 1; piece < 30; ++piece) {
    const std::vector<iovec> pieces = pieces_of(text, piece);
    for (std::size_t step = 1; step < 60; ++step) {
      std::string got;
      for (IovecWindow window(pieces); !window.done();) {
        const std::string part = text_in(window.window(step));
        ASSERT_FALSE(part.empty());
        ASSERT_LE(part.size(), step);
        // What the call took of it, which may be less.
        const std::size_t taken = (part.size() + 1) / 2;
        got += part.substr(0, taken);
        window.advance(taken);
      }
      ASSERT_EQ(got, text) << piece << ' ' << step;
    }
  }
}

}  // namespace
}  // namespace ferry::test
