// Seeded trials of the two commands through a bad network: each ends in an identical image, or in
// a clean failure whose exit codes fit the fault; never in half a file, or in a process that stays.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <ostream>
#include <set>
#include <string>

#include "tests/e2e/scene.h"
#include "tests/fault_proxy/fault.h"

namespace ferry::test {
namespace {

using testing::IsEmpty;
using Act = Fault::Act;

// The shortest that a command takes in earnest: three heartbeats.
const std::string k_timeout = "3";
constexpr std::uint64_t k_image_bytes = 1 * k_mib + 12'345;
constexpr std::uint64_t k_hello_bytes = 84;

/// What one seed asks for.
struct Trial {
  explicit Trial(std::uint64_t number)
      : seed(number),
        lanes(1 + static_cast<unsigned>(number % 3)),
        faults(faults_of(number, lanes, k_image_bytes / lanes)) {}
  /// One written by hand, on one lane.
  explicit Trial(std::string_view text) : faults(parse_faults(text).value()) {}
  bool over_unix() const { return seed % 4 == 3; }

  std::uint64_t seed = 0;
  unsigned lanes = 1;
  std::vector<Fault> faults;
};

/// The faults that came to pass, as the proxy says.
std::vector<Fault> fired_in(const std::string& said) {
  std::vector<Fault> fired;
  for (const std::string& line : lines_of(said)) {
    constexpr std::string_view k_word = "fired ";
    if (!line.starts_with(k_word)) continue;
    const auto fault = parse_fault(std::string_view(line).substr(k_word.size()));
    EXPECT_TRUE(fault) << line;
    if (fault) fired.push_back(*fault);
  }
  return fired;
}

bool harms(const Fault& fault) { return fault.act != Act::delay && fault.act != Act::reorder; }

/// Did it happen while the session's first connection was greeted? Then the receiver may never have
/// heard of a session, and waits for another sender.
bool hit_the_greeting(const Fault& fault) {
  return harms(fault) && fault.connection == 0 && fault.offset < k_hello_bytes;
}

class BadNetwork : public EndToEnd {
 protected:
  void run(const Trial& trial);
  /// Exit codes that these faults may lead to, at either side.
  static std::set<int> codes_for(const std::vector<Fault>& fired) {
    std::set<int> codes = {0};
    for (const Fault& fault : fired) {
      if (!harms(fault)) continue;
      codes.insert({7, 10});
      if (fault.offset < k_hello_bytes) codes.insert({3, 4});  // while it connects
      if (fault.act == Act::stall) codes.insert(3);
      // Where it hits a length, the other side waits for what never comes.
      if (fault.act == Act::flip) codes.insert({5, 3});
    }
    return codes;
  }
};

void BadNetwork::run(const Trial& trial) {
  const std::string faults = to_text(trial.faults);
  SCOPED_TRACE("seed " + std::to_string(trial.seed) + ", which is: fault-proxy --faults " + faults +
               " and migrate-send --channels " + std::to_string(trial.lanes) +
               "; again: fault_proxy_test --gtest_filter=*/" + std::to_string(trial.seed));
  const std::string image = random_image("a.img", k_image_bytes);
  const std::string name = "unix://@ferry-trial-" + std::to_string(::getpid());
  Receiver receiver({"-o", output_ / "out.img", trial.over_unix() ? name : "tcp://127.0.0.1:0",
                     "--timeout", k_timeout});
  Process proxy({FAULT_PROXY, "--listen", trial.over_unix() ? name + "-proxy" : "tcp://127.0.0.1:0",
                 "--to", receiver.uri, "--faults", faults});
  ASSERT_TRUE(proxy.read_until(proxy.out(), [](auto& text) { return text.contains('\n'); }));
  const std::string line = proxy.out().substr(0, proxy.out().find('\n'));
  Process sender = migrate_send({image, line.substr(line.rfind(' ') + 1), "--channels",
                                 std::to_string(trial.lanes), "--timeout", k_timeout});

  const int sent = sender.wait();
  ASSERT_NE(sent, Process::k_still_running) << "the sender hangs";
  const bool may_wait_on = std::ranges::any_of(trial.faults, hit_the_greeting);
  if (sent != 0 && may_wait_on) receiver.process.signal(SIGINT);
  const int received = receiver.process.wait();
  ASSERT_NE(received, Process::k_still_running) << "the receiver hangs";
  proxy.signal(SIGTERM);
  proxy.wait();

  const std::vector<Fault> fired = fired_in(proxy.out());
  RecordProperty("fired", to_text(fired));
  const std::string said = "fired: " + to_text(fired) + "\nmigrate-send ended with " +
                           std::to_string(sent) + ": " + sender.err() + "migrate-recv ended with " +
                           std::to_string(received) + ": " + receiver.process.err();
  std::printf("trial %lu: fired %s, ended %d and %d\n", static_cast<unsigned long>(trial.seed),
              to_text(fired).c_str(), sent, received);
  std::set<int> codes = codes_for(fired);
  EXPECT_TRUE(codes.contains(sent)) << said;
  if (may_wait_on) codes.insert(6);
  codes.erase(10);  // only a source can be in doubt
  EXPECT_TRUE(codes.contains(received)) << said;
  EXPECT_TRUE(sent != 0 || received == 0) << said;
  EXPECT_TRUE(received != 0 || sent == 0 || sent == 10) << said;
  if (received == 0) {
    expect_same(image, output_ / "out.img");
  } else {
    EXPECT_THAT(output_.names(), IsEmpty()) << said;
  }
}

class FaultTrial : public BadNetwork, public testing::WithParamInterface<unsigned> {};

TEST_P(FaultTrial, EndsInAnIdenticalImageOrACleanFailure) { run(Trial(GetParam())); }

INSTANTIATE_TEST_SUITE_P(Seeds, FaultTrial, testing::Range(0u, unsigned{FAULT_TRIALS}));

class DamagedLength : public BadNetwork {};

// The length is bytes 4 to 7 of a message. With 2048 more the receiver would take a session's
// heartbeats for its rest.
TEST_F(DamagedLength, OfTheLayoutIsNoticed) { run(Trial("flip:0:up:89:3")); }

TEST_F(DamagedLength, OfAnAcknowledgementIsNoticed) { run(Trial("flip:0:down:51:3")); }

TEST_F(DamagedLength, OfTheFirstPacketIsNoticed) { run(Trial("flip:1:up:89:6")); }

}  // namespace
}  // namespace ferry::test
