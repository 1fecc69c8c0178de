#!/bin/bash
# guest_image_test.sh: what tests/lab/guest-image promises, with a small guest.
set -euo pipefail
lab=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

failed() {
  echo "FAILED: $*"
  exit 1
}

"$lab/guest-image" --memory 256 "$scratch/first.img"
[ "$(stat -c %s "$scratch/first.img")" = $((256 << 20)) ] || failed "it has another length"
grep -q -a -m 1 'Linux version 6\.' "$scratch/first.img" || failed "no kernel is in it"
grep -q -a -m 1 'GNU C Library' "$scratch/first.img" || failed "nothing is in it of what the guest read"
used=$(($(du -k "$scratch/first.img" | cut -f 1) / 1024))
[ "$used" -gt 128 ] || failed "only $used MiB of it are not zero"

# Out of what is kept: another boot would leave another memory.
"$lab/guest-image" --memory 256 "$scratch/second.img" 2> "$scratch/said"
cmp "$scratch/first.img" "$scratch/second.img" || failed "it was made anew"
[ ! -s "$scratch/said" ] || failed "it said: $(cat "$scratch/said")"
echo "256 MiB, of which $used are not zero"
