#include "loop/poller.h"

#include <utility>

#include "base/escape.h"

namespace ferry {

std::string_view to_string(PollerKind kind) noexcept {
  switch (kind) {
    case PollerKind::automatic:
      return "auto";
    case PollerKind::io_uring:
      return "io_uring";
    case PollerKind::epoll:
      return "epoll";
    case PollerKind::poll:
      return "poll";
  }
  std::unreachable();
}

Result<PollerKind> parse_poller(std::string_view name) {
  for (const PollerKind kind :
       {PollerKind::automatic, PollerKind::io_uring, PollerKind::epoll, PollerKind::poll}) {
    if (name == to_string(kind)) return kind;
  }
  return fail(Errc::usage, in_quotes(name) + ": no such way to wait",
              "auto, io_uring, epoll or poll");
}

Result<std::unique_ptr<Poller>> make_poller(PollerKind kind) {
  switch (kind) {
    case PollerKind::automatic:
      break;
    case PollerKind::io_uring:
      return make_io_uring_poller();
    case PollerKind::epoll:
      return make_epoll_poller();
    case PollerKind::poll:
      return make_poll_poller();
  }
  for (const auto make : {&make_io_uring_poller, &make_epoll_poller}) {
    if (auto poller = make()) return poller;
  }
  return make_poll_poller();
}

}  // namespace ferry
