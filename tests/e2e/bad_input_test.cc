// What people get wrong: each has its exit code, and one line that says what it is.
#include <sys/stat.h>
#include <unistd.h>

#include "tests/e2e/events.h"
#include "tests/e2e/own_disk.h"
#include "tests/e2e/relay.h"
#include "tests/e2e/scene.h"

namespace ferry {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

// Somebody listens there, but a mistake that is found first never gets so far.
const std::string k_anywhere = "tcp://127.0.0.1:1";

class BadInput : public EndToEnd {
 protected:
  static void expect_complaint(Process process, int code, const std::string& words) {
    EXPECT_EQ(process.wait(), code) << process.err();
    EXPECT_EQ(process.out(), "");
    ASSERT_EQ(lines_of(process.err()).size(), 1u) << process.err();
    EXPECT_THAT(process.err(), HasSubstr(words));
    EXPECT_TRUE(process.err().starts_with("migrate-")) << process.err();
  }
  static void expect_send_complaint(Words arguments, int code, const std::string& words) {
    expect_complaint(migrate_send(std::move(arguments)), code, words);
  }
  static void expect_receive_complaint(Words arguments, int code, const std::string& words) {
    arguments.insert(arguments.begin(), MIGRATE_RECV);
    expect_complaint(Process(std::move(arguments)), code, words);
  }
  /// The command without the power of root to read and write everything.
  static Words without_power(Words command) {
    if (::geteuid() != 0) return command;
    Words words = {"/usr/bin/setpriv", "--bounding-set=-dac_override,-dac_read_search"};
    words.insert(words.end(), command.begin(), command.end());
    return words;
  }
  static const std::string& error_line(const std::vector<std::string>& lines) {
    static const std::string k_none;
    for (const std::string& line : lines) {
      if (line.starts_with("migrate-") && !line.contains(": warning: ")) return line;
    }
    return k_none;
  }
};

TEST_F(BadInput, AMissingImage) {
  expect_send_complaint({source_ / "none.img", k_anywhere}, 8,
                        "none.img': no such file or directory (is the path right?)");
}

TEST_F(BadInput, AnImageThatMayNotBeRead) {
  const fs::path image = random_image("secret.img", k_mib);
  ASSERT_EQ(::chmod(image.c_str(), 0), 0);
  expect_complaint(Process(without_power({MIGRATE_SEND, image, k_anywhere})), 8,
                   "permission denied (may this user read it?)");
}

TEST_F(BadInput, AFolderForAnImage) {
  expect_send_complaint({source_.path(), k_anywhere}, 8, "is a directory");
}

TEST_F(BadInput, ADeviceForAnImage) {
  expect_send_complaint({"/dev/null", k_anywhere}, 8,
                        "'/dev/null': not a regular file or block device");
}

TEST_F(BadInput, AnImageThatIsTooLong) {
  const TempFolder memory("/dev/shm");  // few disks have files so long
  const fs::path image = memory / "long.img";
  set_length(image, 16 * 1024 * k_gib + 1);
  expect_send_complaint({image, k_anywhere}, 8, "longer than the 16 TiB");
}

TEST_F(BadInput, TwoImagesOfOneName) {
  fs::create_directory(source_ / "other");
  const fs::path one = random_image("a.img", 1);
  const fs::path two = random_image("other/a.img", 1);
  expect_send_complaint({one, two, k_anywhere}, 2, "two of them are named 'a.img'");
}

TEST_F(BadInput, ACommandLineThatLacksSomething) {
  expect_send_complaint({}, 2, "no image and no address given");
  expect_send_complaint({"a.img"}, 2, "no address given");
  expect_send_complaint({k_anywhere}, 2, "no image given");
  expect_receive_complaint({}, 2, "no output given (say -o PATH)");
  expect_receive_complaint({k_anywhere}, 2, "no output given (say -o PATH)");
  expect_receive_complaint({"-o"}, 2, "--output needs a value");
  expect_receive_complaint({"-o", "x", k_anywhere, "more"}, 2, "'more' is one word too many");
}

TEST_F(BadInput, OptionsThatMakeNoSense) {
  const fs::path image = random_image("a.img", 1);
  expect_send_complaint({image, k_anywhere, "--frobnicate"}, 2, "unknown option --frobnicate");
  for (const char* channels : {"0", "256", "-1", "two", "1.5"}) {
    expect_send_complaint({image, k_anywhere, "--channels=" + std::string(channels)}, 2,
                          "not a whole number from 1 to 255");
  }
  expect_send_complaint({image, k_anywhere, "--verify", "none"}, 2, "--verify 'none'");
  expect_send_complaint({image, k_anywhere, "--zero-copy", "maybe"}, 2, "--zero-copy 'maybe'");
  expect_send_complaint({image, k_anywhere, "--max-bandwidth", "fast"}, 2,
                        "--max-bandwidth 'fast': not a rate");
  expect_send_complaint({image, k_anywhere, "--max-bandwidth", "1kB/s"}, 2, "at least 64KiB/s");
  expect_send_complaint({image, k_anywhere, "--timeout", "soon"}, 2, "--timeout 'soon'");
  expect_send_complaint({image, k_anywhere, "--log-level", "loud"}, 2, "log level 'loud'");
  expect_receive_complaint({"-o", output_ / "out", "--channels", "2"}, 2,
                           "unknown option --channels");
}

TEST_F(BadInput, AddressesThatAreNone) {
  const fs::path image = random_image("a.img", 1);
  for (const char* uri : {"tcp://host:port", "tcp://host:99999", "tcp://[::1", "tcp://a b:1",
                          "unix://", "nonsense", "", "tcp://host:-1"}) {
    expect_send_complaint({image, uri}, 2, "");
    expect_receive_complaint({"-o", output_ / "out.img", uri}, 2, "");
  }
  EXPECT_THAT(output_.names(), IsEmpty());
}

TEST_F(BadInput, AKeyForATransportThatDoesNotEncrypt) {
  const fs::path image = random_image("a.img", 1);
  expect_send_complaint({image, "tcp://127.0.0.1:1?key=00"}, 2, "tls:// takes a key");
  expect_receive_complaint({"-o", output_ / "out", "unix://@ferry?key=00"}, 2,
                           "tls:// takes a key");
}

TEST_F(BadInput, ATransportThatIsUnknown) {
  const fs::path image = random_image("a.img", 1);
  expect_send_complaint({image, "pigeon://roof:1"}, 2, "pigeon");
  expect_receive_complaint({"-o", output_ / "out.img", "pigeon://roof:1"}, 2, "pigeon");
}

TEST_F(BadInput, ATransportThatReachesNobodyHere) {
  const fs::path image = random_image("a.img", 1);
  expect_send_complaint({image, "rdma://127.0.0.1:1"}, 3, "RDMA");
  expect_receive_complaint({"-o", output_ / "out.img", "rdma://127.0.0.1:1"}, 3, "RDMA");
}

TEST_F(BadInput, NobodyListens) {
  std::uint16_t port = 0;
  {
    const DeafListener closed;
    port = closed.port;
  }
  const fs::path image = random_image("a.img", 1);
  const std::string uri = "tcp://127.0.0.1:" + std::to_string(port);
  expect_send_complaint({image, uri}, 3,
                        uri + ": connection refused (is migrate-recv listening there?)");
  expect_send_complaint({image, "unix://" + (source_ / "none").native()}, 3, "none");
}

TEST_F(BadInput, WhoeverListensSaysNothing) {
  const DeafListener deaf;
  const fs::path image = random_image("a.img", 1);
  expect_send_complaint({image, "tcp://127.0.0.1:" + std::to_string(deaf.port), "--timeout", "1"},
                        3, "");
}

TEST_F(BadInput, TheAddressIsTaken) {
  const DeafListener other;
  expect_receive_complaint(
      {"-o", output_ / "out.img", "tcp://127.0.0.1:" + std::to_string(other.port)}, 3,
      "address already in use");
}

TEST_F(BadInput, AnOutputFolderThatIsMissing) {
  expect_receive_complaint({"-o", output_ / "missing/", "tcp://127.0.0.1:0"}, 8,
                           "missing/' is missing (mkdir it first)");
  expect_receive_complaint({"-o", output_ / "missing/out.img", "tcp://127.0.0.1:0"}, 8,
                           "missing' is missing (mkdir it first)");
}

TEST_F(BadInput, AnOutputFolderThatMayNotBeWritten) {
  ASSERT_EQ(::chmod(output_.path().c_str(), 0555), 0);
  expect_complaint(
      Process(without_power({MIGRATE_RECV, "-o", output_ / "out.img", "tcp://127.0.0.1:0"})), 8,
      "permission denied");
}

TEST_F(BadInput, AnOutputThatExistsIsKept) {
  write_file(output_ / "out.img", "older, and precious");
  expect_receive_complaint({"-o", output_ / "out.img", "tcp://127.0.0.1:0"}, 8,
                           "it exists already (give --force to replace it)");
  EXPECT_EQ(read_file(output_ / "out.img"), "older, and precious");
}

TEST_F(BadInput, AnOutputThatExistsInAFolderIsKept) {
  const fs::path image = random_image("a.img", k_mib);
  write_file(output_ / "a.img", "older, and precious");
  Receiver receiver({"-o", output_.path(), "tcp://127.0.0.1:0"});
  Process sender = migrate_send({image, receiver.uri});
  EXPECT_EQ(sender.wait(), 7) << sender.err();
  EXPECT_EQ(receiver.process.wait(), 8) << receiver.process.err();
  EXPECT_THAT(error_line(lines_of(receiver.process.err())), HasSubstr("it exists already"));
  EXPECT_THAT(error_line(lines_of(sender.err())), HasSubstr("it exists already"));
  EXPECT_EQ(read_file(output_ / "a.img"), "older, and precious");
}

TEST_F(BadInput, AHostileNameIsRefusedOnBothSides) {
  const fs::path image = random_image("evil\nmigrate-recv: all is well.img", k_mib);
  Receiver receiver({"-o", output_.path(), "tcp://127.0.0.1:0"});
  expect_complaint(migrate_send({image, receiver.uri}), 4, "evil\\x0amigrate-recv");
  EXPECT_EQ(receiver.process.wait(), 4) << receiver.process.err();
  EXPECT_THAT(error_line(lines_of(receiver.process.err())), HasSubstr("evil\\x0amigrate-recv"));
  EXPECT_THAT(output_.names(), IsEmpty());
}

TEST_F(BadInput, TwoImagesForOneFileAreRefusedOnBothSides) {
  const fs::path one = random_image("a.img", k_mib);
  const fs::path two = random_image("b.img", k_mib);
  Receiver receiver({"-o", output_ / "out.img", "tcp://127.0.0.1:0"});
  expect_complaint(migrate_send({one, two, receiver.uri}), 4, "2 images into the one file");
  EXPECT_EQ(receiver.process.wait(), 4) << receiver.process.err();
  EXPECT_THAT(output_.names(), IsEmpty());
}

TEST_F(BadInput, AFullDiskIsToldOnBothSides) {
  const SmallDisk disk;
  if (!disk) GTEST_SKIP() << "no right to mount a tmpfs here";
  const std::string output = disk.path() / "out.img";
  Receiver receiver({"-o", output, "tcp://127.0.0.1:0"});
  Process sender = migrate_send({random_image("a.img", 32 * k_mib), receiver.uri});
  EXPECT_EQ(sender.wait(), 7) << sender.err();
  EXPECT_EQ(receiver.process.wait(), 8);
  EXPECT_THAT(receiver.process.err(), HasSubstr("write '" + output + "' at offset"));
  EXPECT_THAT(receiver.process.err(), HasSubstr("no space left on device (is the disk full?)"));
  EXPECT_THAT(error_line(lines_of(sender.err())), HasSubstr("no space left on device"));
  EXPECT_TRUE(fs::is_empty(disk.path()));
}

}  // namespace
}  // namespace ferry
