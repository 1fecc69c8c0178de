// The example's transport, in whole migrations. What its channels promise is in conformance/.
#include "examples/seqpacket_transport.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/image/temp_folder.h"
#include "tests/session/memory_guest.h"
#include "tests/session/migration.h"

namespace ferry::test {
namespace {

class SeqpacketTransport : public testing::Test {
 protected:
  SeqpacketTransport() { runtime_->add(make_seqpacket_transport()); }

  const TempFolder folder_;
  const std::string at_ = "seqpacket://" + (folder_ / "socket").native();
  const std::unique_ptr<Runtime> runtime_ = runtime_of_all_transports();
  MemorySource source_{layout_of({3 << 20, 4096 + 5})};
  MemoryDestination destination_;
};

TEST_F(SeqpacketTransport, ListensAndConnectsForAMigrationOverSeveralChannels) {
  SendOptions options;
  options.channels = 3;
  options.verify = Verify::full;
  const Ended ended = migrate(*runtime_, source_, destination_, at_, options);
  EXPECT_TRUE(ended.sent.ok()) << why_not(ended.sent);
  EXPECT_TRUE(ended.received.ok()) << why_not(ended.received);
  EXPECT_TRUE(identical(source_, destination_));
}

TEST_F(SeqpacketTransport, TellsThatNobodyListens) {
  const Outcome outcome = sending(*runtime_, source_, at_).outcome();
  EXPECT_EQ(outcome.owner, Owner::source);
  ASSERT_TRUE(outcome.why_not);
  EXPECT_EQ(outcome.why_not->code, Errc::unreachable);
  EXPECT_THAT(outcome.why_not->text(), testing::HasSubstr(at_));
}

TEST_F(SeqpacketTransport, EndsWithAMigrationThatIsStopped) {
  Receiving receiving(*runtime_, destination_, at_);
  ASSERT_EQ(receiving.uri(), at_);
  receiving.stop();
  EXPECT_EQ(receiving.outcome().why_not->code, Errc::cancelled);
}

}  // namespace
}  // namespace ferry::test
