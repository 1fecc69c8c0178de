#!/bin/bash
# rdma_guest_test.sh SESSION_TEST: a guest that writes to its memory while it is placed in another, by
# RDMA, in one machine.
set -euo pipefail
lab=$(cd "$(dirname "$0")" && pwd)
if [ "$1" != inside ]; then
  exec "$lab/run" --timeout 300 -- "$lab/rdma" "$0" inside "$@"
fi
"$2" --gtest_filter='*OverRdma*' | tee "$TMPDIR/said"
! grep -q SKIPPED "$TMPDIR/said"
