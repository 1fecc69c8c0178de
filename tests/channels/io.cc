#include "tests/channels/io.h"

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <random>
#include <utility>
#include <vector>

namespace ferry::test {

std::vector<iovec> pieces_of(std::string_view data, std::size_t size) {
  std::vector<iovec> pieces;
  for (std::size_t at = 0; at < data.size(); at += size) {
    const std::string_view piece = data.substr(at, size);
    pieces.push_back({const_cast<char*>(piece.data()), piece.size()});
  }
  return pieces;
}

Result<void> write_all(Channel& channel, std::string_view data) {
  const iovec piece{const_cast<char*>(data.data()), data.size()};
  return channel.write({&piece, 1});
}

Result<std::string> read_once(Channel& channel, std::size_t room) {
  std::string data(room, '\0');
  const iovec piece{data.data(), data.size()};
  data.resize(FERRY_TRY(channel.read_some({&piece, 1})));
  return data;
}

Result<std::string> read_all(Channel& channel, std::size_t bytes, std::size_t piece) {
  std::string all(bytes, '\0');
  for (std::size_t at = 0; at < bytes;) {
    const iovec room{all.data() + at, std::min(piece, bytes - at)};
    const std::size_t more = FERRY_TRY(channel.read_some({&room, 1}));
    if (more == 0) return all.substr(0, at);
    at += more;
  }
  return all;
}

Error write_until_failure(Channel& channel) {
  const std::string chunk(64 * 1024, 'x');
  for (;;) {
    if (auto written = write_all(channel, chunk); !written) return written.error();
  }
}

Result<void> drain(Channel& channel) {
  while (!FERRY_TRY(read_once(channel)).empty()) {
  }
  return {};
}

std::string noise(std::size_t bytes, unsigned seed) {
  std::mt19937_64 random(seed);
  std::string data;
  while (data.size() < bytes) {
    const std::uint64_t word = random();
    data.append(reinterpret_cast<const char*>(&word), sizeof word);
  }
  data.resize(bytes);
  return data;
}

BlockedThread::BlockedThread(std::function<void()> call)
    : thread_([this, call = std::move(call)] {
        tid_ = ::gettid();
        call();
        ended_ = true;
      }) {}

void BlockedThread::wait_until_asleep() const {
  while (!ended_) {
    std::ifstream file("/proc/self/task/" + std::to_string(tid_) + "/stat");
    std::string stat;
    std::getline(file, stat);
    const std::size_t name_end = stat.rfind(") ");
    if (name_end != std::string::npos && stat[name_end + 2] == 'S') return;
    std::this_thread::yield();
  }
}

}  // namespace ferry::test
