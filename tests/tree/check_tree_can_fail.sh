#!/bin/bash
# Proves that check_tree.sh finds what it is there for: each case makes a small tree with one breach,
# and expects the line that names it; and a good tree, which must pass.
set -euo pipefail
check=$(cd "$(dirname "$0")" && pwd)/check_tree.sh
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
failures=0

# Puts a file of one line into a fresh tree.
tree_with() {
  rm -rf "${root:?}/tree"
  mkdir -p "$root/tree/$(dirname "$1")"
  printf '%s\n' "$2" > "$root/tree/$1"
}

expect_breach() {
  local path=$1 text=$2 complaint=$3 said
  tree_with "$path" "$text"
  if said=$("$check" "$root/tree"); then
    echo "not noticed: '$text' in $path"
  elif [ "$said" != "$complaint" ]; then
    echo "'$text' in $path: expected '$complaint', but it said '$said'"
  else
    return 0
  fi
  failures=$((failures + 1))
}

expect_peace() {
  local path=$1 text=$2 said
  tree_with "$path" "$text"
  said=$("$check" "$root/tree") && return 0
  echo "'$text' in $path is no breach, but it said '$said'"
  failures=$((failures + 1))
}

expect_breach lib/base/a.h '#include "loop/poller.h"' \
  'lib/base/a.h:1: base may not include loop'
expect_breach lib/wire/a.cc '#include "multifd/link.h"' \
  'lib/wire/a.cc:1: wire may not include multifd'
expect_breach lib/multifd/a.cc '#include "session/source.h"' \
  'lib/multifd/a.cc:1: multifd may not include session'
expect_breach lib/session/a.cc '#include "channels/buffer.h"' \
  'lib/session/a.cc:1: session may not include channels'
expect_breach lib/include/ferry/a.h '#  include "rdma/verbs.h"' \
  'lib/include/ferry/a.h:1: base may not include rdma'
expect_breach channels/a.cc '#include "wire/packet.h"' \
  'channels/a.cc:1: channels may not include wire'
expect_breach rdma/a.cc '#include "channels/socket.h"' \
  'rdma/a.cc:1: rdma may not include channels'
expect_peace lib/session/a.cc '#include "multifd/link.h"'
expect_peace channels/a.cc '#include "ferry/channel.h"'
expect_peace channels/a.cc '#include "socket.h"'
expect_peace channels/make_runtime.cc '#include "rdma/rdma_transport.h"'

expect_breach channels/a.cc 'int fd = epoll_create1(0);' \
  'channels/a.cc:1: epoll_ stays in the epoll poller'
expect_breach lib/loop/poller_epoll.h 'int flags = EPOLLIN;' \
  'lib/loop/poller_epoll.h:1: epoll_ stays in the epoll poller'
expect_breach lib/loop/event_loop.cc 'io_uring_submit(&ring);' \
  'lib/loop/event_loop.cc:1: io_uring_ stays in the io_uring poller and the io_uring engine'
expect_breach lib/multifd/a.h 'XXH64_hash_t hash;' \
  'lib/multifd/a.h:1: XXH stays where checksums are made'
expect_breach migrate-send/main.cc '#include <spdlog/spdlog.h>' \
  'migrate-send/main.cc:1: spdlog stays in the log'
expect_breach lib/console/events.h '#include <nlohmann/json.hpp>' \
  'lib/console/events.h:1: nlohmann stays in the .cc files of the console'
expect_breach lib/base/a.cc '#include <boost/program_options.hpp>' \
  'lib/base/a.cc:1: boost stays in .cc files that read options, and in those of WebSocket'
expect_breach lib/base/log.cc 'auto level = std::getenv("LEVEL");' \
  'lib/base/log.cc:1: only main may read the environment'
expect_breach tests/loop/a.cc 'std::this_thread::sleep_for(10ms);' \
  'tests/loop/a.cc:1: no sleep as synchronisation'
expect_breach lib/base/a.cc 'usleep(10);' 'lib/base/a.cc:1: no sleep as synchronisation'
expect_peace lib/loop/poller_epoll.cc 'int fd = epoll_create1(0);'
expect_peace lib/loop/poller_io_uring.cc 'int fd = ring.ring_fd; io_uring_queue_exit(&ring);'
expect_peace lib/loop/poller.cc 'return make_io_uring_poller();'
expect_peace lib/loop/poller.h 'std::unique_ptr<Poller> make_epoll_poller();'
expect_peace lib/loop/a.cc 'co_await loop.sleep_until(when);'
expect_peace lib/base/a.cc '// no usleep(10) here'
expect_peace migrate-send/main.cc 'auto terminal = std::getenv("TERM");'

expect_breach lib/base/a.cc "$(yes '' | head -n 800; echo 'int x;')" \
  'lib/base/a.cc:801: more than 800 lines'
expect_peace lib/base/a.cc "$(yes '' | head -n 799; echo 'int x;')"

[ "$failures" -eq 0 ]
