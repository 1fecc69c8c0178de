#!/bin/bash
# rdma_test.sh CONFORMANCE_TEST RDMA_TEST MIGRATE_SEND MIGRATE_RECV: the rdma transport, where there
# is an RDMA device.
set -euo pipefail
lab=$(cd "$(dirname "$0")" && pwd)
if [ "$1" != inside ]; then
  exec "$lab/run" --timeout 1700 -- "$lab/rdma" "$0" inside "$@"
fi
shift
conformance_test=$1
rdma_test=$2
send=$3
receive=$4
cd "$TMPDIR"

# passes AT_LEAST TEST FILTER: that many tests ran, and none failed or was skipped.
passes() {
  local least=$1 binary=$2 filter=$3 passed
  "$binary" --gtest_filter="$filter" --gtest_brief=1 | tee tests
  passed=$(sed -n 's/^\[  PASSED  \] \([0-9]*\) tests.*/\1/p' tests)
  [ "${passed:-0}" -ge "$least" ] || { echo "FAILED: only ${passed:-no} tests passed"; return 1; }
}

# move NAME LISTEN_AT [OPTION...]: an image of data, zeros and a hole; the options are for both.
move() {
  local name=$1 at=$2 uri receiver
  shift 2
  mkfifo "said-$name"
  "$receive" "$@" -o "$name.img" "$at" > "said-$name" &
  receiver=$!
  read -r _ _ uri < <(head -n 1 "said-$name")
  echo "$name: listening on $uri"
  "$send" "$@" guest.img "$uri"
  wait "$receiver"
  cmp guest.img "$name.img"
}

# fails STATUS WORDS COMMAND...
fails() {
  local wanted=$1 words=$2 status=0
  shift 2
  "$@" > failed 2>&1 || status=$?
  cat failed
  [ "$status" = "$wanted" ] && grep -q "$words" failed
}

# As somebody who may lock 64 KiB, and is not root.
with_little_lockable() {
  chmod 666 /dev/infiniband/*
  (
    ulimit -l 64
    exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@"
  )
}

head -c 3000000 /dev/urandom > guest.img
truncate -s 9000001 guest.img
passes 30 "$conformance_test" '*/Rdma'
passes 10 "$rdma_test" '*/ADevice'
move free-port rdma://:0
move by-number rdma://10.9.0.1:4447
move little-pinned rdma://10.9.0.1:0 --rdma-pin 1MiB
fails 3 'connect rdma://10.9.0.1:9: connection refused (is migrate-recv listening there?)' \
  "$send" guest.img rdma://10.9.0.1:9
fails 3 'no RDMA device serves this address' "$send" guest.img rdma://127.0.0.1:9
fails 3 'no RDMA device serves this address' "$receive" -o x.img rdma://127.0.0.1:9

"$receive" -o kept.img rdma://10.9.0.1:4448 > said &
fails 8 'limit on locked memory (RLIMIT_MEMLOCK) is 64 KiB, and must be at least' \
  with_little_lockable "$send" guest.img rdma://10.9.0.1:4448
kill %%

# Of several images each would fit: what they need together is said before a page of them is pinned.
for one in 1 2 3; do truncate -s 1400M "large-$one.img"; done
mkdir several
"$receive" -o several rdma://10.9.0.1:4449 > listening 2> said &
receiver=$!
until grep -q listening listening; do sleep 0.1; done
fails 7 'not there yet' "$send" large-*.img rdma://10.9.0.1:4449
status=0
wait "$receiver" || status=$?
cat said
[ "$status" = 8 ] && grep -q 'are to be pinned and not there yet, and this machine has' said
[ -z "$(ls several)" ]
echo "all of rdma as it should be"
