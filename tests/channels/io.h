// Reading and writing in tests: whole messages, and threads that are blocked in a call.
#pragma once

#include <sys/uio.h>

#include <atomic>
#include <cstddef>
#include <functional>
#include <optional>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "ferry/channel.h"
#include "ferry/result.h"

namespace ferry {

/// For gtest: codes by their names.
inline void PrintTo(Errc code, std::ostream* out) { *out << to_string(code); }

}  // namespace ferry

namespace ferry::test {

/// How a call failed; none where it did not.
template <class T>
std::optional<Errc> code_of(const Result<T>& result) {
  if (result) return std::nullopt;
  return result.error().code;
}

/// The line that people get to read; "no failure" where there is none.
template <class T>
std::string text_of(const Result<T>& result) {
  return result ? "no failure" : result.error().text();
}

/// The pieces of `data`, each of at most `size` bytes.
std::vector<iovec> pieces_of(std::string_view data, std::size_t size);

Result<void> write_all(Channel& channel, std::string_view data);

/// Reads `bytes` bytes, asking for at most `piece` at a time. Stops at the peer's finish.
Result<std::string> read_all(Channel& channel, std::size_t bytes, std::size_t piece = 65536);

/// One read_some with room for `room` bytes, and what it gave. Empty: the peer finished.
Result<std::string> read_once(Channel& channel, std::size_t room = 65536);

/// Writes without end, until it fails.
Error write_until_failure(Channel& channel);
/// Reads without end, until it fails or the peer finished.
Result<void> drain(Channel& channel);

/// Bytes that look like nothing in particular, the same for the same seed.
std::string noise(std::size_t bytes, unsigned seed);

/// A thread in a call that is expected to block.
class BlockedThread {
 public:
  explicit BlockedThread(std::function<void()> call);

  /// Returns when the kernel says that the thread sleeps, or that it has ended. It makes a test
  /// meet the blocked call; no test's verdict may hang on it.
  void wait_until_asleep() const;
  void join() { thread_.join(); }

 private:
  std::atomic<int> tid_ = 0;
  std::atomic<bool> ended_ = false;
  std::jthread thread_;
};

}  // namespace ferry::test
