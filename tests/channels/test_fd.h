// Descriptors that can be told apart, and seen to be closed.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <vector>

#include "ferry/unique_fd.h"

namespace ferry::test {

/// A pipe: its writing end is given away, and its reading end tells when the last copy of that is
/// closed.
class TestFd {
 public:
  TestFd() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) {
      ADD_FAILURE() << "no pipe";
      return;
    }
    reading_ = UniqueFd(ends[0]);
    writing_ = UniqueFd(ends[1]);
  }

  int get() const { return writing_.get(); }
  UniqueFd give() { return std::move(writing_); }
  void close() { writing_.reset(); }

  /// Is `fd` a copy of the one that this gives away?
  bool is(const UniqueFd& fd) const {
    struct stat given {};
    struct stat ours {};
    return ::fstat(fd.get(), &given) == 0 && ::fstat(reading_.get(), &ours) == 0 &&
           given.st_dev == ours.st_dev && given.st_ino == ours.st_ino;
  }
  /// Are all copies of it closed?
  bool is_closed() const {
    pollfd end{.fd = reading_.get(), .events = POLLIN, .revents = 0};
    return ::poll(&end, 1, 0) == 1 && (end.revents & POLLHUP) != 0;
  }

 private:
  UniqueFd reading_;
  UniqueFd writing_;
};

inline std::vector<int> numbers_of(const std::vector<TestFd>& fds) {
  std::vector<int> numbers;
  for (const TestFd& fd : fds) numbers.push_back(fd.get());
  return numbers;
}

/// Are these copies of those, in order?
inline bool are(const std::vector<UniqueFd>& fds, const std::vector<TestFd>& of) {
  if (fds.size() != of.size()) return false;
  for (std::size_t i = 0; i < fds.size(); ++i) {
    if (!of[i].is(fds[i])) return false;
  }
  return true;
}

}  // namespace ferry::test
