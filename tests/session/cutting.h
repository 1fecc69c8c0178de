// Lines of a migration that are all cut at once, at the boundary of a message.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "ferry/channel.h"
#include "ferry/transport.h"

namespace ferry::test {

/// Lets so many messages pass that one side writes, on whatever channel, and then cuts all that it
/// has. Every message is one write. Thread-safe.
class Scissors {
 public:
  explicit Scissors(std::size_t messages) : left_(messages) {}
  /// Cuts behind the COMMIT, however many messages that takes.
  enum class Behind { commit };
  explicit Scissors(Behind) : left_(SIZE_MAX), behind_commit_(true) {}

  std::unique_ptr<Channel> on(std::unique_ptr<Channel> channel);
  /// Was a COMMIT among those that passed?
  bool commit_passed() const;

 private:
  class Line;
  void before(std::span<const iovec> message);
  void after(std::span<const iovec> message);
  void cut();
  /// Has the COMMIT gone, behind which nothing is to be heard?
  bool deaf() const;
  void leave(Line& line);

  mutable std::mutex mutex_;  // guards the rest
  std::size_t left_;
  const bool behind_commit_ = false;
  bool cut_ = false;
  bool commit_passed_ = false;
  std::vector<Line*> lines_;
};

inline constexpr std::uint16_t k_commit_type = 11;
/// The type of the control frame that is written; 0 where it is anything else.
std::uint16_t frame_type(std::span<const iovec> message);

/// Which end of its channels a transport hands to the scissors.
enum class Side { source, destination };

/// The transport `tcp`, with scissors on every channel of one side. They outlive it.
std::unique_ptr<Transport> cut_tcp(Scissors& scissors, Side side);

}  // namespace ferry::test
