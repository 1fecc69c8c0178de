// Pages beside a line that is encrypted: what is said of them is hidden, and they are not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "channels/tls.h"
#include "console/events.h"
#include "console/tls_options.h"
#include "tests/session/memory_guest.h"
#include "tests/session/migration.h"
#include "tests/session/placing_transport.h"

namespace ferry::test {
namespace {

using testing::HasSubstr;

std::unique_ptr<Runtime> runtime_that_places_encrypted(PlacingOptions options = {}) {
  auto runtime = make_runtime().value();
  runtime->add(
      make_tls_transport_over(make_placing_transport(std::move(options)), "placing+tls", {}));
  return runtime;
}

TEST(EncryptedPlaced, MovesAGuestWithAKeyForOneSessionAndSaysWhatIsNotHidden) {
  const auto runtime = runtime_that_places_encrypted({.landing = Landing::with_the_next_bytes});
  MemorySource from(layout_of({3 * 1024 * 1024 + 1, 5000}));
  MemoryDestination to;
  std::optional<ChannelInfo> line;
  SendOptions options;
  options.channels = 2;
  options.verify = Verify::full;
  options.observer.connected = [&](const ChannelInfo& info) { line = info; };
  const Ended ended = migrate(*runtime, from, to, "placing+tls://127.0.0.1:0", options);
  ASSERT_TRUE(ended.sent.ok()) << why_not(ended.sent);
  ASSERT_TRUE(ended.received.ok()) << why_not(ended.received);
  EXPECT_TRUE(identical(from, to));
  const Report& report = ended.sent.report;
  EXPECT_EQ(report.placed_bytes, report.bytes - report.zero_bytes);

  ASSERT_TRUE(line);
  EXPECT_EQ(line->scheme, "placing+tls");
  EXPECT_TRUE(line->encrypted);
  EXPECT_TRUE(line->pages_in_clear);
  line->within_host = false;
  EXPECT_THAT(not_encrypted_text(*line), HasSubstr("placing+tls encrypts all but the pages"));
  const std::string done = done_event(report, {});
  EXPECT_THAT(done, HasSubstr(R"("encrypted":false)"));
  EXPECT_THAT(done, HasSubstr(R"("cipher":"TLS_)"));
}

TEST(EncryptedPlaced, WarnsOfNothingElse) {
  ChannelInfo line;
  line.scheme = "tls";
  line.encrypted = true;
  EXPECT_EQ(not_encrypted_text(line), "");
  line.scheme = "tcp";
  line.encrypted = false;
  EXPECT_THAT(not_encrypted_text(line), HasSubstr("tcp is not encrypted"));
  line.within_host = true;
  EXPECT_EQ(not_encrypted_text(line), "");
}

TEST(EncryptedPlaced, RefusesAPeerWithAnotherKey) {
  const auto runtime = runtime_that_places_encrypted();
  MemorySource from(layout_of({4096}));
  MemoryDestination to;
  Receiving receiving(*runtime, to, "placing+tls://127.0.0.1:0");
  std::string uri = receiving.uri();
  uri.replace(uri.find("key=") + 4, 4, "AAAA");
  const Outcome sent = send(*runtime, from, uri, {});
  ASSERT_FALSE(sent.ok());
  EXPECT_EQ(sent.why_not->code, Errc::auth) << why_not(sent);
  EXPECT_EQ(receiving.outcome().why_not.value().code, Errc::auth);
}

}  // namespace
}  // namespace ferry::test
