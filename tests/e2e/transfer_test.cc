// Images that arrive.
#include <sys/socket.h>
#include <sys/un.h>

#include "tests/e2e/scene.h"

namespace ferry {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::UnorderedElementsAre;

class Transfer : public EndToEnd {};

TEST_F(Transfer, RandomBytesArriveOverTcp) {
  const fs::path image = random_image("a.img", 64 * k_mib);
  transfer({image}, output_ / "out.img");
  expect_same(image, output_ / "out.img");
  EXPECT_THAT(output_.names(), UnorderedElementsAre("out.img"));
}

TEST_F(Transfer, RandomBytesArriveOverAUnixSocketWhosePathIsGoneAfterwards) {
  const fs::path image = random_image("a.img", 64 * k_mib);
  transfer({image}, output_ / "out.img", {}, {}, "unix://" + (source_ / "socket").native());
  expect_same(image, output_ / "out.img");
  EXPECT_THAT(source_.names(), UnorderedElementsAre("a.img"));
}

TEST_F(Transfer, AnAbstractUnixSocketNeedsNoPath) {
  const fs::path image = random_image("a.img", k_mib);
  transfer({image}, output_ / "out.img", {}, {},
           "unix://@ferry-test-" + std::to_string(::getpid()));
  expect_same(image, output_ / "out.img");
}

TEST_F(Transfer, AStaleUnixSocketIsReplaced) {
  const fs::path socket_path = source_ / "socket";
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  socket_path.native().copy(address.sun_path, sizeof address.sun_path - 1);
  {
    const UniqueFd stale(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::bind(stale.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  ASSERT_TRUE(fs::exists(socket_path));
  const fs::path image = random_image("a.img", k_mib);
  transfer({image}, output_ / "out.img", {}, {}, "unix://" + socket_path.native());
  expect_same(image, output_ / "out.img");
}

TEST_F(Transfer, HolesAndZerosStayHolesInMemory) {
  const fs::path image = mixed_image(source_ / "mixed.img");
  transfer({image}, output_ / "out.img");
  expect_same(image, output_ / "out.img");
  EXPECT_EQ(fs::file_size(output_ / "out.img"), 64 * k_mib + 777);
  // The zeros that were written take room at the source, and none here.
  EXPECT_LE(allocated_bytes(output_ / "out.img") + 4 * k_mib, allocated_bytes(image));
}

TEST_F(Transfer, HolesAndZerosStayHolesOnADisk) {
  const TempFolder disk;
  const fs::path image = mixed_image(source_ / "mixed.img");
  transfer({image}, disk / "out.img");
  expect_same(image, disk / "out.img");
  // Besides data, a file system may need some blocks to say where the holes are.
  EXPECT_LE(allocated_bytes(disk / "out.img"), 11 * k_mib + 512 * k_kib);
  EXPECT_THAT(disk.names(), UnorderedElementsAre("out.img"));
}

TEST_F(Transfer, EveryLengthArrivesExactly) {
  for (const std::uint64_t length : {0, 1, 4095, 4096, 4097}) {
    const fs::path image = random_image("a-" + std::to_string(length), length);
    const fs::path output = output_ / ("out-" + std::to_string(length));
    transfer({image}, output);
    expect_same(image, output);
    EXPECT_EQ(fs::file_size(output), length);
  }
}

TEST_F(Transfer, SeveralImagesArriveInAFolderUnderTheirNames) {
  const fs::path a = random_image("a.img", 3 * k_mib + 1);
  const fs::path b = random_image("b.img", 5 * k_mib);
  const fs::path empty = random_image("empty.img", 0);
  fs::create_directory(output_ / "images");
  for (const char* folder : {"images", "images/"}) {
    transfer({a, b, empty}, output_ / folder, {}, {"--force"});
    expect_same(a, output_ / "images/a.img");
    expect_same(b, output_ / "images/b.img");
    expect_same(empty, output_ / "images/empty.img");
    EXPECT_EQ(std::distance(fs::directory_iterator(output_ / "images"), {}), 3);
  }
}

TEST_F(Transfer, AnyNumberOfChannelsWillDo) {
  const fs::path image = random_image("a.img", 16 * k_mib + 5);
  for (const char* channels : {"1", "2", "8", "255"}) {
    transfer({image}, output_ / "out.img", {"--channels", channels}, {"--force"});
    expect_same(image, output_ / "out.img");
  }
}

TEST_F(Transfer, WithoutCopyingItArrivesToo) {
  const fs::path image = mixed_image(source_ / "a.img");
  for (const char* when : {"auto", "on", "off"}) {
    transfer({image}, output_ / "out.img", {"--zero-copy", when}, {"--force"});
    expect_same(image, output_ / "out.img");
  }
}

TEST_F(Transfer, ABoundOnBandwidthIsKept) {
  const fs::path image = random_image("a.img", 4 * k_mib);
  const auto begin = std::chrono::steady_clock::now();
  transfer({image}, output_ / "out.img", {"--max-bandwidth", "16MiB/s"});
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  expect_same(image, output_ / "out.img");
  EXPECT_GE(took.count(), 0.2) << "a quarter of a second, less a packet";
}

class TransferByPoller : public EndToEnd, public testing::WithParamInterface<const char*> {};

TEST_P(TransferByPoller, AnImageArrives) {
  const Words poller = {"--poller", GetParam()};
  Process probe = migrate_send({"/no/image", "unix://@nobody", "--poller", GetParam()});
  probe.wait();
  if (probe.err().find("wait by io_uring") != std::string::npos) GTEST_SKIP() << probe.err();
  const fs::path image = random_image("a.img", 16 * k_mib + 5);
  transfer({image}, output_ / "out.img", poller, poller);
  expect_same(image, output_ / "out.img");
}

INSTANTIATE_TEST_SUITE_P(Pollers, TransferByPoller, testing::Values("io_uring", "epoll", "poll"),
                         [](const auto& test) { return std::string(test.param); });

TEST_F(Transfer, AFullVerificationSaysSo) {
  const fs::path image = random_image("a.img", 16 * k_mib + 5);
  Receiver receiver({"-o", output_ / "out.img", "tcp://127.0.0.1:0"});
  Process sender = migrate_send({image, receiver.uri, "--verify", "full"});
  EXPECT_EQ(sender.wait(), 0) << sender.err();
  EXPECT_EQ(receiver.process.wait(), 0) << receiver.process.err();
  expect_same(image, output_ / "out.img");
  EXPECT_THAT(sender.out(), HasSubstr("digest of all memory equal"));
}

TEST_F(Transfer, SixtyFourGibibytesOfHolesAreQuick) {
  const fs::path image = source_ / "sparse.img";
  for (std::uint64_t i = 0; i < 16; ++i) write_random(image, i * 4 * k_gib + i * 4 * k_kib, k_mib);
  set_length(image, 64 * k_gib);
  transfer({image}, output_ / "out.img");
  expect_same(image, output_ / "out.img");
  EXPECT_LE(allocated_bytes(output_ / "out.img"), 17 * k_mib);
}

TEST_F(Transfer, QemusFormOfAnAddressIsUnderstood) {
  const fs::path image = random_image("a.img", k_mib);
  Receiver receiver({"-o", output_ / "out.img", "tcp:127.0.0.1:0"});
  Process sender = migrate_send({image, "tcp:127.0.0.1:" + std::to_string(receiver.port())});
  EXPECT_EQ(sender.wait(), 0) << sender.err();
  EXPECT_EQ(receiver.process.wait(), 0) << receiver.process.err();
  expect_same(image, output_ / "out.img");
}

TEST_F(Transfer, OnAllAddressesWhatItSaysWorksVerbatim) {
  const fs::path image = random_image("a.img", k_mib);
  transfer({image}, output_ / "out.img", {}, {}, "tcp://:0");
  expect_same(image, output_ / "out.img");
}

TEST_F(Transfer, ForceReplacesAnOutputThatExists) {
  const fs::path image = random_image("a.img", k_mib);
  write_file(output_ / "out.img", "older");
  transfer({image}, output_ / "out.img", {}, {"--force"});
  expect_same(image, output_ / "out.img");
  EXPECT_THAT(output_.names(), UnorderedElementsAre("out.img"));
}

}  // namespace
}  // namespace ferry
