// Both sides are processes of their own, and one of them is killed, or its lines are cut, at some
// step: never two guests running, and never a guest lost to a source that had not sent COMMIT.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <new>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "channels/unix.h"
#include "tests/sanitizer.h"
#include "tests/session/cutting.h"
#include "tests/session/memory_guest.h"
#include "tests/session/migration.h"
#include "tests/session/wrapped_lines.h"

namespace ferry::test {
namespace {

enum class Fate { none, killed, cut };

/// What both processes write down, and the test reads when they are gone.
struct Ledger {
  std::atomic<bool> source_runs = true;
  std::atomic<bool> destination_runs = false;
  std::atomic<bool> two_ran = false;      // at one and the same time
  std::atomic<bool> commit_sent = false;  // or about to be
  std::atomic<bool> commit_read = false;
  std::atomic<int> steps = 0;                        // of the side that is to be harmed
  std::array<std::atomic<int>, 2> owner = {-1, -1};  // as each side says in the end
  std::array<std::atomic<bool>, 2> ok = {};
};

/// Counts what one process does, and ends it at a given step.
class Steps {
 public:
  Steps(Ledger& ledger, Fate fate, int fatal) : ledger_(ledger), fate_(fate), fatal_(fatal) {}

  void step() {
    if (fate_ == Fate::none) return;
    if (++ledger_.steps != fatal_) return;
    if (fate_ == Fate::killed) ::kill(::getpid(), SIGKILL);
    cut_ = true;
  }
  bool cut() const { return cut_; }
  Ledger& ledger() { return ledger_; }

 private:
  Ledger& ledger_;
  const Fate fate_;
  const int fatal_;
  std::atomic<bool> cut_ = false;
};

/// Every read and write is two steps: before it and behind it.
class SteppingChannel final : public Channel {
 public:
  SteppingChannel(Steps& steps, std::unique_ptr<Channel> inner)
      : steps_(steps), inner_(std::move(inner)) {}

  Result<std::size_t> read_some(std::span<const iovec> into) override {
    step();
    auto got = inner_->read_some(into);
    step();
    return got;
  }
  Result<void> write(std::span<const iovec> from, Loan loan) override {
    step();
    if (frame_type(from) == k_commit_type) steps_.ledger().commit_sent = true;
    FERRY_TRY(inner_->write(from, loan));
    step();
    return {};
  }
  Result<void> flush() override { return inner_->flush(); }
  Result<void> finish() override { return inner_->finish(); }
  void cancel(Errc why) noexcept override { inner_->cancel(why); }
  const ChannelInfo& info() const noexcept override { return inner_->info(); }

 private:
  void step() {
    steps_.step();
    if (steps_.cut()) inner_->cancel(Errc::disconnected);
  }

  Steps& steps_;
  std::unique_ptr<Channel> inner_;
};

std::unique_ptr<Transport> stepping_unix(Steps& steps) {
  const Wrap step = [&steps](std::unique_ptr<Channel> channel) {
    return std::make_unique<SteppingChannel>(steps, std::move(channel));
  };
  return wrap_lines(make_unix_transport(), step, step);
}

int runs = 0;  // of this process: a name for each

/// One migration in two processes, of which one comes to harm.
class Harmed {
 public:
  Harmed(Side victim, Fate fate, int fatal)
      : victim_(victim),
        fate_(fate),
        fatal_(fatal),
        ledger_(new (::mmap(nullptr, sizeof(Ledger), PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0)) Ledger) {}
  Harmed(const Harmed&) = delete;
  Harmed& operator=(const Harmed&) = delete;
  ~Harmed() { ::munmap(ledger_, sizeof(Ledger)); }

  /// Blocks until both processes are gone.
  void run() {
    std::array<int, 2> listening;
    if (::pipe(listening.data()) != 0) std::abort();
    // A name of its own each time: the kernel may take a moment to close what a killed process had.
    const std::string uri =
        "unix://@ferry-kill-" + std::to_string(::getpid()) + "-" + std::to_string(++runs);
    const pid_t destination = in_a_process([&] { receive_at(uri, listening[1]); });
    ::close(listening[1]);
    char byte = 0;
    // The end of the pipe, too: the destination was killed before it listened.
    (void)!::read(listening[0], &byte, 1);
    const pid_t source = in_a_process([&] { send_to(uri); });
    if (!ended(source, Side::source)) ledger().source_runs = false;
    // A destination whose session never began waits for another sender, for as long as it takes.
    if (killed(Side::source) || ledger().owner[0] == static_cast<int>(Owner::source)) {
      ::kill(destination, SIGTERM);
    }
    if (!ended(destination, Side::destination)) ledger().destination_runs = false;
    ::close(listening[0]);
  }

  Ledger& ledger() const { return *ledger_; }
  bool killed(Side side) const { return killed_[static_cast<std::size_t>(side)]; }

 private:
  template <class Body>
  static pid_t in_a_process(Body body) {
    const pid_t child = ::fork();
    if (child < 0) std::abort();
    if (child > 0) return child;
    body();
    ::_exit(0);
  }

  /// Blocks for its end. Did it end by itself?
  bool ended(pid_t child, Side side) {
    int status = 0;
    ::waitpid(child, &status, 0);
    killed_[static_cast<std::size_t>(side)] = !WIFEXITED(status);
    return WIFEXITED(status);
  }

  Steps steps_of(Side side) { return {ledger(), side == victim_ ? fate_ : Fate::none, fatal_}; }

  void say(Side side, const Outcome& outcome) {
    ledger().owner[static_cast<std::size_t>(side)] = static_cast<int>(outcome.owner);
    ledger().ok[static_cast<std::size_t>(side)] = outcome.ok();
  }

  void receive_at(const std::string& uri, int listening) {
    Steps steps = steps_of(Side::destination);
    const auto runtime = runtime_of_all_transports();
    runtime->add(stepping_unix(steps));
    MemoryDestination guest;
    const Hook step = [&]() -> Result<void> {
      steps.step();
      return {};
    };
    guest.on_map_memory = guest.on_prepare = step;
    guest.on_load = [&](StateReader& in) -> Result<void> {
      steps.step();
      (void)FERRY_TRY(in.next());
      (void)FERRY_TRY(in.u64());
      return {};
    };
    guest.on_start = [&]() -> Result<void> {
      ledger().commit_read = true;
      steps.step();
      if (ledger().source_runs) ledger().two_ran = true;
      ledger().destination_runs = true;
      steps.step();
      return {};
    };
    ReceiveOptions options;
    options.observer.listening = [listening](const Uri&, Reach) {
      (void)!::write(listening, "x", 1);
    };
    std::stop_source stop;
    stop_on_sigterm(stop);
    say(Side::destination, receive(*runtime, guest, uri, options, stop.get_token()));
  }

  /// A thread waits for the signal; it goes with the process.
  static void stop_on_sigterm(std::stop_source& stop) {
    sigset_t terms;
    ::sigemptyset(&terms);
    ::sigaddset(&terms, SIGTERM);
    ::pthread_sigmask(SIG_BLOCK, &terms, nullptr);
    std::thread([stop, terms]() mutable {
      int number = 0;
      ::sigwait(&terms, &number);
      stop.request_stop();
    }).detach();
  }

  void send_to(const std::string& uri) {
    Steps steps = steps_of(Side::source);
    const auto runtime = runtime_of_all_transports();
    runtime->add(stepping_unix(steps));
    MemorySource guest(layout_of({20 * k_unit_bytes, 5}));
    guest.on_start_tracking = [&]() -> Result<void> {
      steps.step();
      return {};
    };
    guest.on_pause = [&]() -> Result<void> {
      guest.write(0, 2, std::byte{2});
      steps.step();
      ledger().source_runs = false;
      steps.step();
      return {};
    };
    guest.on_resume = [&]() -> Result<void> {
      if (ledger().destination_runs) ledger().two_ran = true;
      ledger().source_runs = true;
      return {};
    };
    guest.on_save = [&](StateWriter& out) -> Result<void> {
      steps.step();
      guest.write(0, 3, std::byte{3});
      out.section("device").u64(7);
      return {};
    };
    SendOptions options;
    options.channels = 2;
    say(Side::source, send(*runtime, guest, uri, options));
  }

  const Side victim_;
  const Fate fate_;
  const int fatal_;
  Ledger* const ledger_;
  std::array<bool, 2> killed_{};
};

void expect_no_guest_twice_and_none_lost(const Harmed& harmed) {
  const Ledger& ledger = harmed.ledger();
  EXPECT_FALSE(ledger.two_ran);
  EXPECT_FALSE(ledger.source_runs && ledger.destination_runs);
  const auto source_says = static_cast<Owner>(ledger.owner[0].load());
  if (!harmed.killed(Side::source)) {
    EXPECT_EQ(ledger.source_runs, source_says == Owner::source);
    if (!ledger.commit_sent) {
      EXPECT_TRUE(ledger.source_runs) << "a guest was lost before COMMIT";
    }
    if (ledger.destination_runs) {
      EXPECT_NE(source_says, Owner::source);
    }
  }
  if (!harmed.killed(Side::destination) && ledger.commit_read) {
    EXPECT_TRUE(ledger.destination_runs) << "a guest was lost behind COMMIT";
  }
  if (!ledger.commit_sent) {
    EXPECT_FALSE(ledger.commit_read);
  }
}

/// Which side, what befalls it, and which part of the trials this is: each part is a test of its
/// own, so that none takes long.
struct Course {
  Side victim;
  Fate fate;
  int part;
};
constexpr int k_parts = 3;
// Of each victim and fate: 300 in all. Under the thread sanitizer each takes a second, and what is
// looked for are races, of which one trial shows as much as the next.
constexpr int k_trials = k_under_thread_sanitizer ? 12 : 75;

class Harm : public testing::TestWithParam<Course> {
 protected:
  /// Runs a migration in which this side comes to harm at that step; returns the steps there were.
  int harm(int fatal) {
    SCOPED_TRACE("at step " + std::to_string(fatal));
    Harmed harmed(GetParam().victim, GetParam().fate, fatal);
    harmed.run();
    expect_no_guest_twice_and_none_lost(harmed);
    if (harmed.ledger().steps < fatal) {
      EXPECT_TRUE(harmed.ledger().ok[0] && harmed.ledger().ok[1])
          << "nothing had happened after " << harmed.ledger().steps << " steps; killed "
          << harmed.killed(Side::source) << harmed.killed(Side::destination) << ", owner says "
          << harmed.ledger().owner[0] << " and " << harmed.ledger().owner[1];
    }
    return harmed.ledger().steps;
  }
};

constexpr int k_never = 1'000'000;

TEST_P(Harm, AtAnyStepNeverMakesTwoGuestsNorLosesOneBeforeCommit) {
  const int steps = harm(k_never);
  ASSERT_GT(steps, 20);
  std::mt19937 random(20240521u + static_cast<unsigned>(GetParam().part));
  for (int trial = GetParam().part; trial < k_trials && !HasFailure(); trial += k_parts) {
    // One from each stretch of the course: threads make each a little different.
    const int first = 1 + trial * steps / k_trials;
    harm(first + static_cast<int>(random() % static_cast<unsigned>(steps / k_trials + 1)));
  }
}

std::vector<Course> courses() {
  std::vector<Course> all;
  for (const Side victim : {Side::source, Side::destination}) {
    for (const Fate fate : {Fate::killed, Fate::cut}) {
      for (int part = 0; part < k_parts; ++part) all.push_back({victim, fate, part});
    }
  }
  return all;
}

std::string name_of(const testing::TestParamInfo<Course>& test) {
  return std::string(test.param.victim == Side::source ? "TheSource" : "TheDestination") +
         (test.param.fate == Fate::killed ? "Killed" : "Cut") + std::to_string(test.param.part);
}

INSTANTIATE_TEST_SUITE_P(Of, Harm, testing::ValuesIn(courses()), name_of);

}  // namespace
}  // namespace ferry::test
