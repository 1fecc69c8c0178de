// What end-to-end tests have in common: images, folders, and the two commands.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/e2e/process.h"
#include "tests/image/temp_folder.h"

namespace ferry {

inline constexpr std::uint64_t k_kib = 1024;
inline constexpr std::uint64_t k_mib = 1024 * k_kib;
inline constexpr std::uint64_t k_gib = 1024 * k_mib;

using Words = std::vector<std::string>;

Process migrate_send(Words arguments, Process::Stderr stderr_is = Process::Stderr::pipe);

/// A migrate-recv that already listens.
struct Receiver {
  explicit Receiver(Words arguments, Process::Stderr stderr_is = Process::Stderr::pipe);
  std::uint16_t port() const;
  Process process;
  std::string uri;  ///< as it said
};

/// Bytes that no compressor and no zero scan can shorten, always the same ones.
void write_random(const std::filesystem::path& path, std::uint64_t offset, std::uint64_t bytes);
/// Sets the length; what is new is a hole.
void set_length(const std::filesystem::path& path, std::uint64_t bytes);

/// The first byte in which two files differ, or nothing; also where only one ends. Holes cost no
/// time.
std::optional<std::uint64_t> first_difference(const std::filesystem::path& a,
                                              const std::filesystem::path& b);

/// The lines of a text; the last one without its end, too.
std::vector<std::string> lines_of(std::string_view text);

/// Where images of some hundred megabytes find room: in memory, or where that is small (a
/// container's often is) on the disk.
std::filesystem::path roomy_folder();

/// Two folders, an image to send, and a receiver's arguments for a free port.
class EndToEnd : public testing::Test {
 protected:
  /// An image of random bytes in the source folder.
  std::filesystem::path random_image(std::string_view name, std::uint64_t bytes);
  /// Random bytes, written zeros, holes, and a tail that is no multiple of a page: 64 MiB and 777
  /// bytes at `path`.
  static std::filesystem::path mixed_image(const std::filesystem::path& path);
  /// Sends `images` to `output`, checks that both sides say that it worked, and nothing else.
  void transfer(const Words& images, const std::filesystem::path& output,
                const Words& send_options = {}, const Words& receive_options = {},
                const std::string& at = "tcp://127.0.0.1:0");
  /// Both files, byte for byte, and their exact length.
  static void expect_same(const std::filesystem::path& a, const std::filesystem::path& b);

  TempFolder source_{roomy_folder()};
  TempFolder output_{roomy_folder()};
};

}  // namespace ferry
