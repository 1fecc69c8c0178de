#include "tests/e2e/scene.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <random>
#include <sstream>

#include "ferry/uri.h"
#include "tests/e2e/events.h"

namespace ferry {
namespace {

namespace fs = std::filesystem;

Words command(const char* program, Words arguments) {
  arguments.insert(arguments.begin(), program);
  return arguments;
}

UniqueFd open_to(const fs::path& path, int flags) {
  UniqueFd file(::open(path.c_str(), flags | O_CLOEXEC, 0666));
  EXPECT_TRUE(file) << path;
  return file;
}

/// Where the next byte at or after `from` is that is not in a hole; UINT64_MAX where there is none.
std::uint64_t next_data(const UniqueFd& file, std::uint64_t from) {
  const ::off_t at = ::lseek(file.get(), static_cast<::off_t>(from), SEEK_DATA);
  return at < 0 ? UINT64_MAX : static_cast<std::uint64_t>(at);
}

std::string piece_of(const UniqueFd& file, std::uint64_t offset) {
  std::string piece(k_mib, '\0');
  const ::ssize_t got =
      ::pread(file.get(), piece.data(), piece.size(), static_cast<::off_t>(offset));
  piece.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
  return piece;
}

}  // namespace

Process migrate_send(Words arguments, Process::Stderr stderr_is) {
  return Process(command(MIGRATE_SEND, std::move(arguments)), stderr_is);
}

Receiver::Receiver(Words arguments, Process::Stderr stderr_is)
    : process(command(MIGRATE_RECV, std::move(arguments)), stderr_is) {
  const std::string& said = process.out();
  EXPECT_TRUE(process.read_until(said, [](const std::string& text) { return text.contains('\n'); }))
      << process.err();
  const std::string line = said.substr(0, said.find('\n'));
  constexpr std::string_view k_words = "listening on ";
  if (line.starts_with('{')) {
    uri = events_of(line).at(0).at("uri");
  } else {
    EXPECT_TRUE(line.starts_with(k_words)) << line;
    uri = line.substr(std::min(k_words.size(), line.size()));
  }
}

std::uint16_t Receiver::port() const {
  const Result<Uri> parsed = Uri::parse(uri);
  EXPECT_TRUE(parsed) << uri;
  return parsed ? parsed->port : 0;
}

void write_random(const fs::path& path, std::uint64_t offset, std::uint64_t bytes) {
  static const std::string k_pattern = [] {
    std::mt19937_64 random(20240229);
    // Of a length that is no multiple of a page, so that no two pages of an image are alike.
    std::string pattern(4 * k_mib + 8, '\0');
    for (std::size_t i = 0; i < pattern.size(); i += 8) {
      const std::uint64_t word = random();
      std::copy_n(reinterpret_cast<const char*>(&word), 8, &pattern[i]);
    }
    return pattern;
  }();
  const UniqueFd file = open_to(path, O_WRONLY | O_CREAT);
  while (bytes > 0) {
    const std::size_t piece = std::min<std::uint64_t>(bytes, k_pattern.size());
    ASSERT_EQ(::pwrite(file.get(), k_pattern.data(), piece, static_cast<::off_t>(offset)),
              static_cast<::ssize_t>(piece));
    offset += piece;
    bytes -= piece;
  }
}

void set_length(const fs::path& path, std::uint64_t bytes) {
  const UniqueFd file = open_to(path, O_WRONLY | O_CREAT);
  ASSERT_EQ(::ftruncate(file.get(), static_cast<::off_t>(bytes)), 0);
}

std::optional<std::uint64_t> first_difference(const fs::path& a, const fs::path& b) {
  const UniqueFd file_a = open_to(a, O_RDONLY);
  const UniqueFd file_b = open_to(b, O_RDONLY);
  std::uint64_t offset = 0;
  for (;;) {
    offset = std::min(next_data(file_a, offset), next_data(file_b, offset));
    if (offset == UINT64_MAX) break;
    const std::string piece_a = piece_of(file_a, offset);
    const std::string piece_b = piece_of(file_b, offset);
    if (piece_a != piece_b) {
      const auto at = std::ranges::mismatch(piece_a, piece_b);
      return offset + static_cast<std::uint64_t>(at.in1 - piece_a.begin());
    }
    offset += piece_a.size();
  }
  const std::uintmax_t length_a = fs::file_size(a);
  const std::uintmax_t length_b = fs::file_size(b);
  if (length_a != length_b) return std::min(length_a, length_b);
  return std::nullopt;
}

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  std::istringstream stream{std::string(text)};
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

fs::path roomy_folder() {
  const fs::path memory = "/dev/shm";
  std::error_code none;
  const fs::space_info room = fs::space(memory, none);
  return !none && room.available >= k_gib ? memory : fs::temp_directory_path();
}

fs::path EndToEnd::random_image(std::string_view name, std::uint64_t bytes) {
  const fs::path path = source_ / name;
  write_random(path, 0, bytes);
  return path;
}

fs::path EndToEnd::mixed_image(const fs::path& path) {
  write_random(path, 0, 8 * k_mib);
  write_random(path, 20 * k_mib + 4 * k_kib, 12 * k_kib);
  write_random(path, 40 * k_mib, 3 * k_mib + 123);
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  const std::string zeros(4 * k_mib, '\0');
  EXPECT_EQ(::pwrite(file.get(), zeros.data(), zeros.size(), 30 * k_mib),
            static_cast<::ssize_t>(zeros.size()));
  set_length(path, 64 * k_mib + 777);
  return path;
}

void EndToEnd::transfer(const Words& images, const fs::path& output, const Words& send_options,
                        const Words& receive_options, const std::string& at) {
  Words receive = {"-o", output, at};
  receive.insert(receive.end(), receive_options.begin(), receive_options.end());
  Receiver receiver(receive);
  Words send = images;
  send.push_back(receiver.uri);
  send.insert(send.end(), send_options.begin(), send_options.end());
  Process sender = migrate_send(send);
  EXPECT_EQ(sender.wait(), 0) << sender.err();
  EXPECT_EQ(receiver.process.wait(), 0) << receiver.process.err();
}

void EndToEnd::expect_same(const fs::path& a, const fs::path& b) {
  ASSERT_TRUE(fs::exists(a)) << a;
  ASSERT_TRUE(fs::exists(b)) << b;
  EXPECT_EQ(first_difference(a, b), std::nullopt) << a << " and " << b;
}

}  // namespace ferry
