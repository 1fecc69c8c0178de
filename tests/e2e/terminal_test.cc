// Progress on a terminal.
#include <algorithm>

#include "tests/e2e/relay.h"
#include "tests/e2e/scene.h"

namespace ferry {
namespace {

using testing::HasSubstr;

class Terminal : public EndToEnd {
 protected:
  static bool has_rewritten_twice(const std::string& text) {
    return std::ranges::count(progress_of(text), '\r') >= 3;
  }
  /// What was written from the first piece of progress on, up to the next line.
  static std::string progress_of(const std::string& text) {
    const std::size_t first = text.find(" of 96.0 MiB");
    if (first == text.npos) return {};
    const std::size_t start = text.rfind('\r', first);
    return text.substr(start, text.find('\n', first) - start);
  }
};

TEST_F(Terminal, BothSidesRewriteOneLine) {
  const std::string image = random_image("a.img", 96 * k_mib);
  Receiver receiver({"-o", output_ / "out.img", "tcp://127.0.0.1:0"}, Process::Stderr::terminal);
  HoldingRelay relay(receiver.port(), 4 * k_mib);
  Process sender = migrate_send({image, relay.uri()}, Process::Stderr::terminal);
  ASSERT_TRUE(relay.wait_until_held());
  // Three times the line is written while the transfer stands still, with no new line in between.
  EXPECT_TRUE(sender.read_until(sender.err(), has_rewritten_twice)) << sender.err();
  EXPECT_TRUE(receiver.process.read_until(receiver.process.err(), has_rewritten_twice))
      << receiver.process.err();
  relay.release();
  EXPECT_EQ(sender.wait(), 0) << sender.err();
  EXPECT_EQ(receiver.process.wait(), 0) << receiver.process.err();
  for (const std::string& text : {sender.err(), receiver.process.err()}) {
    EXPECT_THAT(progress_of(text), HasSubstr(" %  "));
    EXPECT_THAT(progress_of(text), HasSubstr("/s"));
  }
}

}  // namespace
}  // namespace ferry
