// How many descriptors a process may have, for a while.
#pragma once

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>

#include "ferry/unique_fd.h"

namespace ferry::test {

/// Lowers or raises the limit, no further than the hard one; as it was when destroyed.
class DescriptorLimit {
 public:
  explicit DescriptorLimit(rlim_t limit) {
    EXPECT_EQ(::getrlimit(RLIMIT_NOFILE, &before_), 0);
    const rlimit now{.rlim_cur = std::min(limit, before_.rlim_max), .rlim_max = before_.rlim_max};
    EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &now), 0);
  }
  ~DescriptorLimit() { ::setrlimit(RLIMIT_NOFILE, &before_); }
  DescriptorLimit(const DescriptorLimit&) = delete;
  DescriptorLimit& operator=(const DescriptorLimit&) = delete;

 private:
  rlimit before_{};
};

/// So many more descriptors than now may be opened while it lives, and then no more.
inline DescriptorLimit descriptors_left(rlim_t more) {
  const UniqueFd lowest_free(::dup(0));
  return DescriptorLimit(static_cast<rlim_t>(lowest_free.get()) + more);
}

}  // namespace ferry::test
