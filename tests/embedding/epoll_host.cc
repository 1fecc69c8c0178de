#include <gtest/gtest.h>
#include <sys/epoll.h>

#include <cerrno>
#include <unordered_map>
#include <utility>

#include "ferry/unique_fd.h"
#include "tests/embedding/host.h"

namespace ferry::test {
namespace {

class EpollHost final : public Host {
 public:
  void watch(int fd, std::function<void()> call) override {
    epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
    EXPECT_EQ(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event), 0);
    calls_.emplace(fd, std::move(call));
  }

  void run_until(const std::function<bool()>& over) override {
    while (!over()) {
      epoll_event event;
      const int count = ::epoll_wait(epoll_.get(), &event, 1, -1);
      if (count == 1) calls_.at(event.data.fd)();
      if (count < 0 && errno != EINTR) FAIL() << "epoll_wait: " << errno;
    }
  }

 private:
  UniqueFd epoll_{::epoll_create1(EPOLL_CLOEXEC)};
  std::unordered_map<int, std::function<void()>> calls_;
};

}  // namespace

std::unique_ptr<Host> make_epoll_host() { return std::make_unique<EpollHost>(); }

}  // namespace ferry::test
