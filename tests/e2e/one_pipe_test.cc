// Everything over one pipe: commands, standard input and output, descriptors, activated sockets.
#include <signal.h>
#include <unistd.h>

#include <string>

#include "tests/e2e/relay.h"
#include "tests/e2e/scene.h"

namespace ferry {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::UnorderedElementsAre;

const char* const k_socat = "/usr/bin/socat";
const char* const k_activate = "/usr/bin/systemd-socket-activate";

#define SKIP_WITHOUT(program) \
  if (::access(program, X_OK) != 0) GTEST_SKIP() << "this machine has no " << program

class OnePipe : public EndToEnd {
 protected:
  std::string output() const { return output_ / "out.img"; }
  /// The command that receives on its standard input and output.
  std::string receiver(const std::string& address = "stdio:") const {
    return std::string(MIGRATE_RECV) + " -o " + output() + " " + address;
  }
  std::string socket_path() const { return source_ / "socket"; }

  void expect_sent(Process& sender) {
    EXPECT_EQ(sender.wait(), 0) << sender.err();
    EXPECT_THAT(sender.out(), HasSubstr("every 4 KiB checked"));
    EXPECT_EQ(lines_of(sender.out()).size(), 1u) << sender.out();
    EXPECT_EQ(sender.err(), "");
    expect_same(image_, output());
    EXPECT_THAT(output_.names(), UnorderedElementsAre("out.img"));
  }
  void expect_sent_by(const std::string& command) {
    Process sender = migrate_send({image_, "exec:" + command});
    expect_sent(sender);
  }

  /// Runs `command` with a socket that waits at socket_path(), once it does.
  Process activated(Words options, Words command) {
    Words words = {k_activate, "-l", socket_path()};
    words.insert(words.end(), options.begin(), options.end());
    words.insert(words.end(), command.begin(), command.end());
    Process process(words);
    EXPECT_TRUE(process.read_until(
        process.err(), [](const std::string& said) { return said.contains("Listening on"); }));
    return process;
  }

  const std::string image_ = random_image("a.img", 24 * k_mib + 5);
};

// exec: and stdio:

TEST_F(OnePipe, AnImageGoesToACommand) { expect_sent_by(receiver()); }

TEST_F(OnePipe, AnImageGoesThroughTheShellsPipes) {
  expect_sent_by("cat | " + receiver() + " | cat");
}

TEST_F(OnePipe, SeveralImagesAndADigestOfAllGoToo) {
  const std::string other = random_image("b.img", 3 * k_mib);
  Process sender = migrate_send(
      {image_, other, "--verify", "full", "--max-bandwidth", "1GiB/s",
       "exec:" + std::string(MIGRATE_RECV) + " stdio: -o " + output_.path().native() + "/"});
  EXPECT_EQ(sender.wait(), 0) << sender.err();
  expect_same(image_, output_ / "a.img");
  expect_same(other, output_ / "b.img");
}

TEST_F(OnePipe, AnImageGoesThroughSocatToASocket) {
  SKIP_WITHOUT(k_socat);
  Receiver receiver({"-o", output(), "tcp://127.0.0.1:0"});
  expect_sent_by("socat STDIO TCP:127.0.0.1:" + std::to_string(receiver.port()));
  EXPECT_EQ(receiver.process.wait(), 0) << receiver.process.err();
}

TEST_F(OnePipe, AReceiverMayRunACommandAsWell) {
  SKIP_WITHOUT(k_socat);
  Process receiver({MIGRATE_RECV, "-o", output(), "exec:socat STDIO UNIX-LISTEN:" + socket_path()});
  expect_sent_by("socat STDIO UNIX-CONNECT:" + socket_path() + ",retry=500,interval=0.05");
  EXPECT_EQ(receiver.wait(), 0) << receiver.err();
  EXPECT_THAT(receiver.out(), AllOf(HasSubstr("every 4 KiB"), Not(HasSubstr("listening"))));
}

TEST_F(OnePipe, TheLastWordsOfACommandThatFailsAreTheError) {
  Process sender = migrate_send({image_, "exec:echo the road is closed >&2; exit 9"});
  EXPECT_EQ(sender.wait(), 7);
  EXPECT_THAT(sender.err(), HasSubstr("it ended with exit status 9: the road is closed"));
  EXPECT_EQ(lines_of(sender.err()).size(), 1u) << sender.err();
}

TEST_F(OnePipe, WhatTheReceiverHasAgainstItIsHeard) {
  write_file(output(), "older");
  Process sender = migrate_send({image_, "exec:" + receiver()});
  EXPECT_EQ(sender.wait(), 7);
  EXPECT_THAT(sender.err(), HasSubstr("exit status 8"));
  EXPECT_THAT(sender.err(), HasSubstr("it exists already"));
  EXPECT_EQ(read_file(output()), "older");
}

TEST_F(OnePipe, CtrlCEndsTheCommandAndAllThatItStarted) {
  // The receiver is not the shell's last word: the shell stays between.
  Process sender =
      migrate_send({image_, "--max-bandwidth", "1MiB/s", "--json",
                    "exec:" + receiver() + "; echo $? > " + (source_ / "status").native()});
  ASSERT_TRUE(
      sender.read_until(sender.out(), [](auto& said) { return said.contains("progress"); }));
  sender.signal(SIGINT);
  EXPECT_EQ(sender.wait(), 6) << sender.err();
  EXPECT_THAT(output_.names(), IsEmpty());
}

TEST_F(OnePipe, MoreThanOneChannelIsAUsageError) {
  for (const char* uri : {"exec:true", "stdio:", "fd:7"}) {
    Process sender = migrate_send({image_, uri, "--channels", "2"});
    EXPECT_EQ(sender.wait(), 2);
    EXPECT_THAT(sender.err(), HasSubstr("has one channel only (leave --channels out)"));
  }
  Process one = migrate_send({image_, "exec:" + receiver(), "--channels", "1"});
  expect_sent(one);
}

TEST_F(OnePipe, ASenderThatOpensManyChannelsIsToldThatThereIsOne) {
  SKIP_WITHOUT(k_socat);
  Process receiver(
      {k_socat, "-d", "-d", "UNIX-LISTEN:" + socket_path(), "EXEC:" + this->receiver("stdio\\:")});
  ASSERT_TRUE(receiver.read_until(receiver.err(),
                                  [](auto& said) { return said.contains("listening on"); }));
  Process sender = migrate_send({image_, "unix://" + socket_path()});
  EXPECT_EQ(sender.wait(), 4);
  EXPECT_THAT(sender.err(), HasSubstr("here is one channel only"));
  EXPECT_THAT(output_.names(), IsEmpty());
}

// What is not the peer's stays out of the line.

TEST_F(OnePipe, OverStdioStandardOutputHasNothingButTheLine) {
  Process receiver({"/bin/sh", "-c",
                    "echo nonsense from nowhere, and more than a Hello has in "
                    "its first words, whatever they are | " +
                        this->receiver()});
  EXPECT_NE(receiver.wait(), 0);
  EXPECT_EQ(lines_of(receiver.err()).size(), 1u) << receiver.err();
  EXPECT_THAT(receiver.out(), AllOf(Not(HasSubstr("listening")), Not(HasSubstr("event"))));
}

TEST_F(OnePipe, EventsHaveNoPlaceOverStdio) {
  for (const char* command : {MIGRATE_RECV, MIGRATE_SEND}) {
    const bool receives = command == std::string(MIGRATE_RECV);
    Words words = {command};
    if (receives) words.push_back("-o");
    words.insert(words.end(), {receives ? output() : image_, "stdio:", "--json"});
    Process process(words);
    EXPECT_EQ(process.wait(), 2);
    EXPECT_EQ(process.out(), "");
    EXPECT_THAT(process.err(), HasSubstr("standard output is the line to the peer"));
  }
}

TEST_F(OnePipe, StdioIsNoFileAndNoTerminal) {
  Process from_nothing({MIGRATE_RECV, "-o", output(), "stdio:"});  // its input is /dev/null
  EXPECT_EQ(from_nothing.wait(), 2);
  EXPECT_EQ(from_nothing.out(), "");
  EXPECT_THAT(from_nothing.err(), HasSubstr("standard input is neither a pipe nor a socket"));

  Process to_a_file(
      {"/bin/sh", "-c", "true | " + receiver() + " > " + (source_ / "file").native()});
  EXPECT_EQ(to_a_file.wait(), 2);
  EXPECT_THAT(to_a_file.err(), HasSubstr("standard output is a file"));
  EXPECT_EQ(read_file(source_ / "file"), "");
}

// Descriptors.

TEST_F(OnePipe, ASocketOpenedByTheShellCarriesAnImage) {
  SKIP_WITHOUT("/bin/bash");
  Receiver receiver({"-o", output(), "tcp://127.0.0.1:0"});
  Process sender({"/bin/bash", "-c",
                  "exec 5<>/dev/tcp/127.0.0.1/" + std::to_string(receiver.port()) + "; exec " +
                      MIGRATE_SEND + " -q " + image_ + " fd:5"});
  EXPECT_EQ(sender.wait(), 0) << sender.err();
  EXPECT_EQ(receiver.process.wait(), 0) << receiver.process.err();
  expect_same(image_, output());
}

TEST_F(OnePipe, ADescriptorThatIsNotThereIsAUsageError) {
  Process sender = migrate_send({image_, "fd:77"});
  EXPECT_EQ(sender.wait(), 2);
  EXPECT_THAT(sender.err(), HasSubstr("use fd:77: bad file descriptor"));
}

TEST_F(OnePipe, AnActivatedReceiverServesItsSocketWithManyChannels) {
  SKIP_WITHOUT(k_activate);
  Process receiver = activated({}, {MIGRATE_RECV, "-o", output()});
  Process sender = migrate_send({image_, "unix://" + socket_path(), "--channels", "3"});
  expect_sent(sender);
  EXPECT_EQ(receiver.wait(), 0) << receiver.err();
  EXPECT_THAT(receiver.out(), HasSubstr("listening on unix://" + socket_path() + "\n"));
}

TEST_F(OnePipe, AnActivatedReceiverSaysItsTcpPort) {
  SKIP_WITHOUT(k_activate);
  std::uint16_t port = 0;
  {
    const DeafListener free;
    port = free.port;
  }
  const std::string at = "127.0.0.1:" + std::to_string(port);
  Process receiver({k_activate, "-l", at, MIGRATE_RECV, "-o", output(), "fd:3"});
  ASSERT_TRUE(receiver.read_until(receiver.err(),
                                  [](auto& said) { return said.contains("Listening on"); }));
  Process sender = migrate_send({image_, "tcp://" + at, "-q"});
  EXPECT_EQ(sender.wait(), 0) << sender.err();
  EXPECT_EQ(receiver.wait(), 0) << receiver.err();
  EXPECT_THAT(receiver.out(), HasSubstr("listening on tcp://" + at + "\n"));
  EXPECT_THAT(receiver.err(), HasSubstr("not encrypted"));
  expect_same(image_, output());
}

TEST_F(OnePipe, AServiceForEachConnectionReceivesOverOneChannel) {
  SKIP_WITHOUT(k_activate);
  SKIP_WITHOUT(k_socat);
  for (const Words& address : {Words{"--inetd", "stdio:"}, Words{"", "fd:3"}, Words{"", ""}}) {
    fs::remove(socket_path());
    fs::remove(output());
    Words options = {"--accept"};
    if (!address[0].empty()) options.push_back(address[0]);
    Words command = {MIGRATE_RECV, "-o", output()};
    if (!address[1].empty()) command.push_back(address[1]);
    Process service = activated(options, command);
    expect_sent_by("socat STDIO UNIX-CONNECT:" + socket_path());
    service.signal(SIGTERM);
    service.wait();
  }
}

TEST_F(OnePipe, TwoActivatedSocketsAreAUsageError) {
  SKIP_WITHOUT(k_activate);
  Process receiver = activated({"-l", socket_path() + "-too"}, {MIGRATE_RECV, "-o", output()});
  Process sender = migrate_send({image_, "unix://" + socket_path()});
  EXPECT_EQ(receiver.wait(), 2);
  EXPECT_THAT(receiver.err(), HasSubstr("leave one ListenStream= in its unit"));
  EXPECT_NE(sender.wait(), 0);
}

}  // namespace
}  // namespace ferry
