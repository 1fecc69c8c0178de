#include "session/admission.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "ferry/result.h"

namespace ferry {
namespace {

using testing::HasSubstr;
using wire::Role;
using enum wire::HelloAck::Verdict;

wire::Hello hello(Role role, std::uint16_t index = 0, int session = 1) {
  wire::Hello hello;
  hello.session.fill(static_cast<std::byte>(session));
  hello.role = role;
  hello.index = index;
  return hello;
}

std::optional<Errc> code_of(const Result<void>& result) {
  return result ? std::nullopt : std::optional(result.error().code);
}

/// With its control channel, and pages 0 to `channels` - 1 announced.
void open(Admission& admission, std::uint16_t channels) {
  ASSERT_EQ(admission.admit(hello(Role::control)).verdict, accepted);
  ASSERT_TRUE(admission.announce(0, channels));
}

TEST(Admission, AcceptsAControlChannelAndAnswersToItsSession) {
  Admission admission;
  const wire::HelloAck ack = admission.admit(hello(Role::control));
  EXPECT_EQ(ack.verdict, accepted);
  EXPECT_EQ(ack.version, wire::k_version_max);
  EXPECT_EQ(ack.session, hello(Role::control).session);
  EXPECT_EQ(ack.reason, "");
}

TEST(Admission, RefusesASecondSessionAsBusy) {
  Admission admission;
  open(admission, 1);
  for (const Role role : {Role::control, Role::solo}) {
    const wire::HelloAck ack = admission.admit(hello(role, 0, 2));
    EXPECT_EQ(ack.verdict, busy);
    EXPECT_EQ(ack.session, hello(role, 0, 2).session);
    EXPECT_EQ(ack.reason, "another session is in progress");
  }
}

TEST(Admission, RefusesASecondControlChannelOfTheSameSession) {
  Admission admission;
  open(admission, 1);
  for (const Role role : {Role::control, Role::solo}) {
    const wire::HelloAck ack = admission.admit(hello(role));
    EXPECT_EQ(ack.verdict, unannounced);
    EXPECT_THAT(ack.reason, HasSubstr("has its control channel already"));
  }
}

TEST(Admission, RefusesPagesBeforeThereIsASession) {
  Admission admission;
  const wire::HelloAck ack = admission.admit(hello(Role::page));
  EXPECT_EQ(ack.verdict, stranger);
  EXPECT_EQ(ack.reason, "no such session");
}

TEST(Admission, RefusesPagesBeforeTheyAreAnnounced) {
  Admission admission;
  ASSERT_EQ(admission.admit(hello(Role::control)).verdict, accepted);
  const wire::HelloAck ack = admission.admit(hello(Role::page));
  EXPECT_EQ(ack.verdict, unannounced);
  EXPECT_EQ(ack.reason, "channel 0 was not announced");
}

TEST(Admission, AcceptsEachAnnouncedChannelOnce) {
  Admission admission;
  open(admission, 3);
  for (const std::uint16_t index : {2, 0, 1}) {
    EXPECT_EQ(admission.admit(hello(Role::page, index)).verdict, accepted) << index;
  }
  for (const std::uint16_t index : {0, 1, 2}) {
    const wire::HelloAck ack = admission.admit(hello(Role::page, index));
    EXPECT_EQ(ack.verdict, unannounced) << index;
    EXPECT_THAT(ack.reason, HasSubstr("is there already"));
  }
}

TEST(Admission, ReopensTheIndexOfAChannelThatIsThereForOneMore) {
  Admission admission;
  open(admission, 2);
  EXPECT_EQ(code_of(admission.reopen(0)), Errc::protocol) << "nobody has come yet";
  ASSERT_EQ(admission.admit(hello(Role::page, 0)).verdict, accepted);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(admission.reopen(0));
    EXPECT_EQ(code_of(admission.reopen(0)), Errc::protocol) << "one at a time";
    EXPECT_EQ(admission.admit(hello(Role::page, 0, 2)).verdict, stranger);
    EXPECT_EQ(admission.admit(hello(Role::page, 0)).verdict, accepted);
    EXPECT_EQ(admission.admit(hello(Role::page, 0)).verdict, unannounced);
  }
  for (const std::uint16_t index : {2, 254, 255, 65535}) {
    EXPECT_EQ(code_of(admission.reopen(index)), Errc::protocol) << index;
  }
}

TEST(Admission, RefusesTheIndexBehindTheLastOne) {
  Admission admission;
  open(admission, 3);
  EXPECT_EQ(admission.admit(hello(Role::page, 3)).verdict, unannounced);
}

TEST(Admission, KnowsIndicesUpTo254AndNoOthers) {
  Admission admission;
  open(admission, 255);
  EXPECT_EQ(admission.admit(hello(Role::page, 254)).verdict, accepted);
  for (const std::uint16_t index : {255, 256, 0x7fff, 0x8000, 65535}) {
    const wire::HelloAck ack = admission.admit(hello(Role::page, index));
    EXPECT_EQ(ack.verdict, unannounced) << index;
    EXPECT_EQ(ack.reason, "channel " + std::to_string(index) + " was not announced");
  }
}

TEST(Admission, RefusesAnAnnouncedIndexOfAnotherSession) {
  Admission admission;
  open(admission, 1);
  EXPECT_EQ(admission.admit(hello(Role::page, 0, 2)).verdict, stranger);
  EXPECT_EQ(admission.admit(hello(Role::page, 0, 1)).verdict, accepted) << "it harmed nobody";
}

TEST(Admission, RefusesRolesThatNobodySpeaks) {
  Admission admission;
  open(admission, 1);
  for (const Role role : {Role::urgent, Role{0}, Role{5}, Role{65535}}) {
    const wire::HelloAck ack = admission.admit(hello(role));
    EXPECT_EQ(ack.verdict, unannounced);
    EXPECT_THAT(ack.reason, HasSubstr("role " + std::to_string(static_cast<unsigned>(role))));
  }
}

TEST(Admission, GivesAWithdrawnPlaceToTheNext) {
  Admission admission;
  ASSERT_EQ(admission.admit(hello(Role::control, 0, 1)).verdict, accepted);
  admission.withdraw(hello(Role::control, 0, 1));
  ASSERT_EQ(admission.admit(hello(Role::control, 0, 2)).verdict, accepted);

  ASSERT_TRUE(admission.announce(0, 1));
  ASSERT_EQ(admission.admit(hello(Role::page, 0, 2)).verdict, accepted);
  admission.withdraw(hello(Role::page, 0, 2));
  EXPECT_EQ(admission.admit(hello(Role::page, 0, 2)).verdict, accepted);
}

TEST(Admission, WithdrawsNothingForAnotherSession) {
  Admission admission;
  open(admission, 1);
  ASSERT_EQ(admission.admit(hello(Role::page)).verdict, accepted);
  admission.withdraw(hello(Role::page, 0, 2));
  admission.withdraw(hello(Role::control, 0, 2));
  EXPECT_EQ(admission.admit(hello(Role::page)).verdict, unannounced) << "still there";
  EXPECT_EQ(admission.admit(hello(Role::control, 0, 3)).verdict, busy) << "still in progress";
}

TEST(Admission, AdmitsNobodyAfterTheEnd) {
  Admission admission;
  open(admission, 1);
  admission.end();
  for (const Role role : {Role::control, Role::page, Role::solo, Role::urgent}) {
    const wire::HelloAck ack = admission.admit(hello(role));
    EXPECT_EQ(ack.verdict, ended);
    EXPECT_EQ(ack.reason, "the session is over");
  }
}

TEST(Admission, AnnouncesEachChannelOnce) {
  Admission admission;
  open(admission, 2);
  EXPECT_TRUE(admission.announce(2, 2));
  const auto again = admission.announce(3, 2);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Errc::protocol);
}

TEST(Admission, AnnouncesNoChannelThatCannotBe) {
  for (const auto& [first, count] :
       {std::pair{0, 256}, {254, 2}, {255, 1}, {1, 255}, {65535, 1}, {65535, 65535}, {0, 65535}}) {
    Admission admission;
    const auto announced =
        admission.announce(static_cast<std::uint16_t>(first), static_cast<std::uint16_t>(count));
    ASSERT_FALSE(announced) << first << ", " << count;
    EXPECT_EQ(announced.error().code, Errc::protocol);
  }
  Admission admission;
  EXPECT_TRUE(admission.announce(254, 1));
}

TEST(Admission, RefusesVersionsThatHaveNothingInCommon) {
  Admission admission;
  wire::Hello future = hello(Role::control);
  future.version_min = wire::k_version_max + 1;
  future.version_max = wire::k_version_max + 9;
  const wire::HelloAck ack = admission.admit(future);
  EXPECT_EQ(ack.verdict, version);
  EXPECT_EQ(ack.version, wire::k_version_max) << "the newest that we have";
  EXPECT_THAT(ack.reason, HasSubstr("no version in common"));

  wire::Hello past = hello(Role::control);
  past.version_min = 0;
  past.version_max = wire::k_version_min - 1;
  EXPECT_EQ(admission.admit(past).verdict, version);
  EXPECT_EQ(admission.admit(hello(Role::control, 0, 2)).verdict, accepted) << "no place was taken";
}

TEST(Admission, AwaitsOneChannelAndThenThoseThatAreAnnounced) {
  Admission admission;
  EXPECT_EQ(admission.awaited(), 1u);
  (void)admission.admit(hello(Role::control));
  EXPECT_EQ(admission.awaited(), 0u);
  ASSERT_TRUE(admission.announce(0, 3));
  EXPECT_EQ(admission.awaited(), 3u);
  (void)admission.admit(hello(Role::page, 1));
  EXPECT_EQ(admission.awaited(), 2u);
  ASSERT_TRUE(admission.reopen(1));
  EXPECT_EQ(admission.awaited(), 3u);
  admission.withdraw(hello(Role::control));
  EXPECT_EQ(admission.awaited(), 1u);
  admission.end();
  EXPECT_EQ(admission.awaited(), 0u);
}

TEST(Admission, PicksTheNewestVersionThatBothSpeak) {
  Admission admission;
  wire::Hello future = hello(Role::control);
  future.version_max = 99;
  const wire::HelloAck ack = admission.admit(future);
  EXPECT_EQ(ack.verdict, accepted);
  EXPECT_EQ(ack.version, wire::k_version_max);
}

TEST(Admission, RefusesAnUnknownCriticalFeatureAndIgnoresAnOptionalOne) {
  Admission admission;
  wire::Hello demanding = hello(Role::control);
  demanding.critical_features = 0x80000001;
  const wire::HelloAck ack = admission.admit(demanding);
  EXPECT_EQ(ack.verdict, feature);
  EXPECT_THAT(ack.reason, HasSubstr("0x80000001"));

  wire::Hello hopeful = hello(Role::control, 0, 2);
  hopeful.optional_features = 0xffffffff;
  EXPECT_EQ(admission.admit(hopeful).verdict, accepted);
}

}  // namespace
}  // namespace ferry
