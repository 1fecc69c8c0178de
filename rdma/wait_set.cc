#include "rdma/wait_set.h"

#include <sys/epoll.h>

#include <cerrno>

namespace ferry {

Result<UniqueFd> make_wait_set(std::initializer_list<int> fds) {
  UniqueFd set(::epoll_create1(EPOLL_CLOEXEC));
  if (!set) return fail_sys(Errc::system, errno, "make one descriptor of several");
  for (const int fd : fds) {
    epoll_event want{};
    want.events = EPOLLIN;
    if (::epoll_ctl(set.get(), EPOLL_CTL_ADD, fd, &want) != 0) {
      return fail_sys(Errc::system, errno, "make one descriptor of several");
    }
  }
  return set;
}

}  // namespace ferry
