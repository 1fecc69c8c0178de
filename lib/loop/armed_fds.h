// Who waits for what, for pollers that may name a descriptor to the kernel only once.
#pragma once

#include <cassert>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "loop/poller.h"

namespace ferry {

constexpr Interest common(Interest a, Interest b) noexcept {
  return static_cast<Interest>(static_cast<std::uint8_t>(a) & static_cast<std::uint8_t>(b));
}

/// The arms of a Poller, merged by descriptor.
class ArmedFds {
 public:
  /// `cookie` must not be armed.
  void add(int fd, Interest want, std::uint64_t cookie) {
    assert(want != Interest::none && !fd_of_.contains(cookie));
    by_fd_[fd].push_back({cookie, want});
    fd_of_.emplace(cookie, fd);
  }

  /// What all arms of `fd` want together; none where it has no arm.
  Interest wanted(int fd) const {
    Interest all = Interest::none;
    const auto armed = by_fd_.find(fd);
    if (armed == by_fd_.end()) return all;
    for (const Poller::Event& arm : armed->second) all = all | arm.ready;
    return all;
  }

  /// The descriptor on which `cookie` was armed, or nothing where it was not.
  std::optional<int> remove(std::uint64_t cookie) {
    const auto found = fd_of_.find(cookie);
    if (found == fd_of_.end()) return std::nullopt;
    const int fd = found->second;
    fd_of_.erase(found);
    const auto arms = by_fd_.find(fd);
    std::erase_if(arms->second, [cookie](const auto& arm) { return arm.cookie == cookie; });
    if (arms->second.empty()) by_fd_.erase(arms);
    return fd;
  }

  /// Moves the arms of `fd` that `ready` concerns to `events`.
  void take(int fd, Interest ready, std::vector<Poller::Event>& events) {
    const auto arms = by_fd_.find(fd);
    assert(arms != by_fd_.end() && "closed before it was disarmed");
    if (arms == by_fd_.end()) return;
    std::erase_if(arms->second, [&](const Poller::Event& arm) {
      const Interest got = common(arm.ready, ready);
      if (got == Interest::none) return false;
      events.push_back({arm.cookie, got});
      fd_of_.erase(arm.cookie);
      return true;
    });
    if (arms->second.empty()) by_fd_.erase(arms);
  }

 private:
  std::unordered_map<int, std::vector<Poller::Event>> by_fd_;  // what would be reported at most
  std::unordered_map<std::uint64_t, int> fd_of_;
};

}  // namespace ferry
