#!/bin/bash
# vsock_test.sh CONFORMANCE_TEST MIGRATE_SEND MIGRATE_RECV: the vsock transport, where there is vsock.
set -euo pipefail
lab=$(cd "$(dirname "$0")" && pwd)
if [ "$1" != inside ]; then
  exec "$lab/run" --timeout 1700 -- "$0" inside "$@"
fi
shift
conformance_test=$1
send=$2
receive=$3
cd "$TMPDIR"

channel_keeps_its_promises() {
  "$conformance_test" --gtest_filter='*/Vsock:*/TlsVsock' --gtest_brief=1 | tee conformance
  local tests
  tests=$(sed -n 's/^\[=*\] \([0-9]*\) tests from.*/\1/p' conformance)
  [ "${tests:-0}" -ge 40 ] || { echo "FAILED: only ${tests:-no} tests ran"; return 1; }
}

# move NAME LISTEN_AT [CONNECT_TO]: an image of data, zeros and a hole; CONNECT_TO's %s is the port.
move() {
  local name=$1 at=$2 to=${3:-} uri receiver
  mkfifo "said-$name"
  "$receive" -o "$name.img" "$at" > "said-$name" &
  receiver=$!
  read -r _ _ uri < <(head -n 1 "said-$name")
  echo "$name: listening on $uri"
  # shellcheck disable=SC2059  # the format is the point
  [ -z "$to" ] || uri=$(printf "$to" "${uri##*:}")
  "$send" guest.img "$uri"
  wait "$receiver"
  cmp guest.img "$name.img"
}

refused() {
  local status=0
  "$send" guest.img vsock://1:9 2> refused || status=$?
  cat refused
  [ "$status" = 3 ] && grep -q 'connect vsock://1:9: .*is migrate-recv listening there?' refused
}

modprobe vsock_loopback
head -c 3000000 /dev/urandom > guest.img
truncate -s 9000001 guest.img
channel_keeps_its_promises
move free-port vsock://1:0
move all-cids vsock://:4446
move as-qemu-says vsock:1:4447 vsock:1:%s
refused
echo "all of vsock as it should be"
