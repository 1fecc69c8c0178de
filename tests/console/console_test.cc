#include "console/console.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <signal.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "console/events.h"
#include "console/process.h"
#include "ferry/unique_fd.h"

namespace ferry {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using namespace std::chrono_literals;

/// A pipe that holds all that these tests say.
struct Pipe {
  Pipe() {
    int ends[2];
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    reader.reset(ends[0]);
    writer.reset(ends[1]);
  }
  /// Everything said so far; ends the pipe.
  std::string text() {
    writer.reset();
    std::string all;
    char piece[4096];
    for (::ssize_t got; (got = ::read(reader.get(), piece, sizeof piece)) > 0;) {
      all.append(piece, static_cast<std::size_t>(got));
    }
    return all;
  }
  UniqueFd reader, writer;
};

class ConsoleTest : public testing::Test {
 protected:
  Console console(Console::Format format, Console::Chatter chatter = Console::Chatter::all) {
    return Console({.command = "migrate-recv",
                    .format = format,
                    .chatter = chatter,
                    .out = out_.writer.get(),
                    .err = err_.writer.get()});
  }
  std::vector<json> events() {
    std::vector<json> events;
    std::istringstream lines(out_.text());
    for (std::string line; std::getline(lines, line);) events.push_back(json::parse(line));
    return events;
  }
  Pipe out_, err_;
};

Uri uri_of(std::string_view text) { return Uri::parse(text).value(); }

Outcome done() {
  Outcome outcome;
  outcome.owner = Owner::destination;
  outcome.report.bytes = std::uint64_t{1} << 30;
  outcome.report.wire_bytes = 7;
  outcome.report.zero_bytes = 8;
  outcome.report.rounds = 1;
  outcome.report.channels = 2;
  outcome.report.resent = 3;
  outcome.report.elapsed = 500ms;
  return outcome;
}

Outcome failed(Errc code, std::string context) {
  Outcome outcome;
  outcome.why_not = Error{code, 0, std::move(context), ""};
  return outcome;
}

/// A shell in a session of its own, as a transport starts them.
::pid_t start_command(std::string command) {
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
  std::string shell = "sh";
  std::string option = "-c";
  char* const words[] = {shell.data(), option.data(), command.data(), nullptr};
  ::pid_t pid = -1;
  EXPECT_EQ(::posix_spawn(&pid, "/bin/sh", nullptr, &attributes, words, environ), 0);
  ::posix_spawnattr_destroy(&attributes);
  return pid;
}

TEST(Process, CommandsAreKilledWithTheirGroups) {
  Pipe held;  // by all that the command has started
  ::fcntl(held.writer.get(), F_SETFD, 0);
  const ::pid_t pid = start_command("trap '' TERM; sleep 1000 & wait");
  kill_commands();
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  EXPECT_EQ(held.text(), "");
}

TEST(Process, SigchldIsNotIgnoredWhateverTheParentDid) {
  ::signal(SIGCHLD, SIG_IGN);
  prepare_process();
  EXPECT_EQ(::signal(SIGCHLD, SIG_DFL), SIG_DFL);
}

TEST_F(ConsoleTest, TheFirstLineIsTheAddressAndNothingElse) {
  Console said = console(Console::Format::words);
  said.listening(uri_of("tcp://127.0.0.1:4446"), Reach::this_host);
  EXPECT_EQ(out_.text(), "listening on tcp://127.0.0.1:4446\n");
  EXPECT_EQ(err_.text(), "on this host: migrate-send IMAGE 'tcp://127.0.0.1:4446'\n");
}

TEST_F(ConsoleTest, OnAllAddressesTheOtherHostIsToldOurName) {
  Console said = console(Console::Format::words);
  said.listening(uri_of("tcp://localhost:4446"), Reach::every_address);
  EXPECT_EQ(err_.text(),
            "on the other host: migrate-send IMAGE 'tcp://" + host_name() + ":4446'\n");
}

TEST_F(ConsoleTest, AWebSocketWithAPathIsForTheOtherHostToo) {
  Console said = console(Console::Format::words);
  said.listening(uri_of("wss://localhost:4446/ferry"), Reach::every_address);
  said.listening(uri_of("ws://10.1.2.3:4446/ferry"), Reach::this_address);
  said.listening(uri_of("ws://127.0.0.1:4446/ferry"), Reach::this_host);
  EXPECT_EQ(err_.text(), "on the other host: migrate-send IMAGE 'wss://" + host_name() +
                             ":4446/ferry'\n"
                             "on the other host: migrate-send IMAGE 'ws://10.1.2.3:4446/ferry'\n"
                             "on this host: migrate-send IMAGE 'ws://127.0.0.1:4446/ferry'\n");
}

TEST_F(ConsoleTest, TheLineToPasteIsQuotedForAShell) {
  EXPECT_EQ(send_command(uri_of("unix:///tmp/it's"), Reach::this_host),
            "migrate-send IMAGE 'unix:///tmp/it'\\''s'");
}

TEST_F(ConsoleTest, JsonSaysEverythingAsEvents) {
  Console said = console(Console::Format::json);
  said.listening(uri_of("tcp://127.0.0.1:4446"), Reach::this_host);
  said.warning("mind the gap");
  said.progress({.bytes_total = 4, .bytes_done = 2, .wire_bytes = 3, .elapsed = 1500ms});
  EXPECT_EQ(said.finished(done()), ExitCode::done);
  EXPECT_EQ(err_.text(), "");
  const std::vector<json> all = events();
  ASSERT_EQ(all.size(), 4u);
  EXPECT_EQ(all[0], json({{"event", "listening"},
                          {"uri", "tcp://127.0.0.1:4446"},
                          {"command", "migrate-send IMAGE 'tcp://127.0.0.1:4446'"}}));
  EXPECT_EQ(all[1], json({{"event", "warning"}, {"message", "mind the gap"}}));
  EXPECT_EQ(all[2], json({{"event", "progress"},
                          {"bytes_done", 2},
                          {"bytes_total", 4},
                          {"wire_bytes", 3},
                          {"seconds", 1.5}}));
  EXPECT_EQ(all[3]["event"], "done");
  EXPECT_EQ(all[3]["bytes"], std::uint64_t{1} << 30);
  EXPECT_EQ(all[3]["wire_bytes"], 7);
  EXPECT_EQ(all[3]["zero_bytes"], 8);
  EXPECT_EQ(all[3]["seconds"], 0.5);
  EXPECT_EQ(all[3]["throughput_bytes_per_second"], double(std::uint64_t{2} << 30));
  EXPECT_EQ(all[3]["resent"], 3);
  EXPECT_EQ(all[3]["suspect"], 0);
  EXPECT_EQ(all[3]["replacements"], 0);
  EXPECT_EQ(all[3]["zero_copy_fallbacks"], 0);
  EXPECT_EQ(all[3]["verify"], "pages");
  EXPECT_GT(all[3]["peak_memory_bytes"], 1 << 20);
  EXPECT_GE(all[3]["cpu_seconds"], 0);
  EXPECT_FALSE(all[3].contains("downtime_ms"));
}

TEST_F(ConsoleTest, AGuestThatRanHasADowntime) {
  Report report = done().report;
  report.downtime = 12ms;
  EXPECT_EQ(json::parse(done_event(report, {}))["downtime_ms"], 12.0);
}

TEST_F(ConsoleTest, AFailureIsAnEventAndALineForPeople) {
  Console said = console(Console::Format::json);
  EXPECT_EQ(said.finished(failed(Errc::disconnected, "receive: the line was cut")),
            ExitCode::peer_failed);
  EXPECT_EQ(events().at(0), json({{"event", "failed"},
                                  {"code", "disconnected"},
                                  {"message", "receive: the line was cut"}}));
  EXPECT_EQ(err_.text(), "migrate-recv: receive: the line was cut\n");
}

TEST_F(ConsoleTest, AnUnknownOwnerIsAQuestionForAPerson) {
  Console said = console(Console::Format::json);
  Outcome outcome = failed(Errc::disconnected, "the line was cut");
  outcome.owner = Owner::unknown;
  EXPECT_EQ(said.finished(outcome), ExitCode::unknown_owner);
  const json event = events().at(0);
  EXPECT_EQ(event["event"], "unknown");
  EXPECT_THAT(std::string(event["message"]), HasSubstr("unknown: the line was cut"));
}

TEST_F(ConsoleTest, TheLastLineSaysWhatWasProved) {
  Console said = console(Console::Format::words);
  Outcome outcome = done();
  outcome.report.resent = 0;
  EXPECT_EQ(said.finished(outcome), ExitCode::done);
  EXPECT_EQ(
      out_.text(),
      "1.00 GiB in 0.50 s, 2.00 GiB/s: every 4 KiB checked, transcript equal on both sides\n");
  outcome.report.verify = Verify::full;
  EXPECT_THAT(done_text(outcome.report), HasSubstr("digest of all memory equal too"));
  outcome.report.resent = 3;
  EXPECT_THAT(done_text(outcome.report), HasSubstr("3 damaged and sent again"));
  EXPECT_THAT(done_text(outcome.report), Not(HasSubstr("worn")));
  outcome.report.replacements = 4;
  EXPECT_THAT(done_text(outcome.report), HasSubstr(", 4 channels worn and replaced"));
}

TEST_F(ConsoleTest, QuietSaysErrorsAndTheAddressAlone) {
  Console said = console(Console::Format::words, Console::Chatter::errors_only);
  said.listening(uri_of("tcp://127.0.0.1:4446"), Reach::this_host);
  said.warning("mind the gap");
  said.progress({});
  said.finished(done());
  said.failed(Error{Errc::usage, 0, "no output given", "say -o PATH"});
  EXPECT_EQ(out_.text(), "listening on tcp://127.0.0.1:4446\n");
  EXPECT_EQ(err_.text(), "migrate-recv: no output given (say -o PATH)\n");
}

TEST_F(ConsoleTest, WhatAPeerSaidIsEscaped) {
  Console said = console(Console::Format::words);
  said.warning("peer says \x1b[2J\nmigrate-recv: all is well");
  said.finished(failed(Errc::refused, "peer: \x9b\xc2\x9b\r\xff"));
  const std::string text = err_.text();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2);
  EXPECT_THAT(text, HasSubstr("\\x1b[2J\\x0amigrate-recv"));
  EXPECT_THAT(text, HasSubstr("\\x9b\\xc2\\x9b\\x0d\\xff"));
}

TEST_F(ConsoleTest, EventsStayJsonWhateverAPeerSaid) {
  Console said = console(Console::Format::json);
  said.warning("\xff\xfe \"quoted\" \n \xe2\x82\xac");
  EXPECT_EQ(events().at(0)["message"], "\\xff\\xfe \"quoted\" \\x0a \xe2\x82\xac");
}

TEST_F(ConsoleTest, WithoutATerminalThereIsNoProgressForPeople) {
  Console said = console(Console::Format::words);
  said.progress({.bytes_total = 4, .bytes_done = 2, .wire_bytes = 0, .elapsed = 1s});
  EXPECT_EQ(err_.text(), "");
}

TEST_F(ConsoleTest, AReaderThatWentAwayIsNoTrouble) {
  ::signal(SIGPIPE, SIG_IGN);
  Console said = console(Console::Format::json);
  out_.reader.reset();
  said.listening(uri_of("tcp://127.0.0.1:1"), Reach::this_host);
  EXPECT_EQ(said.finished(done()), ExitCode::done);
}

TEST_F(ConsoleTest, ProgressDoesNotWaitForASlowReader) {
  Console said = console(Console::Format::json);
  // Far more than a pipe holds, and nobody reads: a console that waited would hang here.
  for (int i = 0; i < 10'000; ++i) {
    said.progress({.bytes_total = 4, .bytes_done = 2, .wire_bytes = 3, .elapsed = 1s});
  }
  EXPECT_FALSE(events().empty());
}

TEST_F(ConsoleTest, LinesOfManyThreadsStayWhole) {
  Console said = console(Console::Format::json);
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&said] {
      for (int n = 0; n < 50; ++n) {
        said.warning("a warning of some length");
        said.progress({.bytes_total = 4, .bytes_done = 2, .wire_bytes = 3, .elapsed = 1s});
      }
    });
  }
  threads.clear();
  EXPECT_EQ(events().size(), 400u);
}

/// A terminal of our own; what is written to it can be read back.
class TerminalTest : public testing::Test {
 protected:
  TerminalTest() {
    int master = -1, slave = -1;
    winsize size{.ws_row = 24, .ws_col = 60, .ws_xpixel = 0, .ws_ypixel = 0};
    EXPECT_EQ(::openpty(&master, &slave, nullptr, nullptr, &size), 0);
    master_.reset(master);
    slave_.reset(slave);
  }
  /// What has been shown since the last call. A terminal passes text on in its own time, so an end
  /// mark goes the same way, and is waited for.
  std::string shown() {
    constexpr char k_mark = '\x01';
    EXPECT_EQ(::write(slave_.get(), &k_mark, 1), 1);
    std::string text;
    while (!text.ends_with(k_mark)) {
      char piece[1024];
      const ::ssize_t got = ::read(master_.get(), piece, sizeof piece);
      if (got <= 0) break;
      text.append(piece, static_cast<std::size_t>(got));
    }
    if (!text.empty()) text.pop_back();
    return text;
  }
  UniqueFd master_, slave_;
  Pipe out_;
};

TEST_F(TerminalTest, ProgressRewritesOneLineAndLeavesIt) {
  Console said({.command = "migrate-send", .out = out_.writer.get(), .err = slave_.get()});
  constexpr std::uint64_t k_gib = 1 << 30;
  said.progress({.bytes_total = 4 * k_gib, .bytes_done = k_gib, .wire_bytes = 0, .elapsed = 1s});
  EXPECT_EQ(shown(), "\r1.00 GiB of 4.00 GiB  25 %  1.00 GiB/s  ETA 0:03");
  said.progress(
      {.bytes_total = 4 * k_gib, .bytes_done = 4 * k_gib, .wire_bytes = 0, .elapsed = 4s});
  const std::string second = shown();
  EXPECT_TRUE(second.starts_with("\r4.00 GiB of 4.00 GiB  100 %")) << second;
  said.finished(done());
  const std::string wiped = shown();
  EXPECT_EQ(wiped.find_first_not_of("\r "), std::string::npos) << wiped;
  EXPECT_TRUE(wiped.ends_with('\r'));
}

TEST_F(TerminalTest, AShorterLineCoversTheOneBefore) {
  Console said({.command = "migrate-send", .out = out_.writer.get(), .err = slave_.get()});
  said.progress({.bytes_total = 1023, .bytes_done = 1000, .wire_bytes = 0, .elapsed = 100s});
  const std::string first = shown();
  said.progress({.bytes_total = 1, .bytes_done = 1, .wire_bytes = 0, .elapsed = 200s});
  EXPECT_GE(shown().size(), first.size());
}

TEST_F(TerminalTest, ALineNeverWraps) {
  winsize narrow{.ws_row = 24, .ws_col = 20, .ws_xpixel = 0, .ws_ypixel = 0};
  ASSERT_EQ(::ioctl(master_.get(), TIOCSWINSZ, &narrow), 0);
  Console said({.command = "migrate-send", .out = out_.writer.get(), .err = slave_.get()});
  for (std::uint64_t done = 1; done <= 1u << 30; done *= 4) {
    said.progress({.bytes_total = 1u << 30, .bytes_done = done, .wire_bytes = 0, .elapsed = 1s});
    EXPECT_LE(shown().size(), 1u + 19u);
  }
}

TEST_F(TerminalTest, AWarningGetsALineOfItsOwn) {
  Console said({.command = "migrate-send", .out = out_.writer.get(), .err = slave_.get()});
  said.progress({.bytes_total = 100, .bytes_done = 10, .wire_bytes = 0, .elapsed = 1s});
  shown();
  said.warning("mind the gap");
  EXPECT_TRUE(shown().ends_with("\rmigrate-send: warning: mind the gap\r\n"));
}

}  // namespace
}  // namespace ferry
