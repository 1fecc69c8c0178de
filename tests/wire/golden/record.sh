#!/bin/bash
# tests/wire/golden/record.sh BUILD FOLDER: records small sessions of the commands in BUILD, both
# directions of every channel, as FOLDER/SESSION/N.up and N.down, with their meaning beside them.
# For a new version of the wire: record v2, and leave v1 alone.
set -euo pipefail
[ $# -eq 2 ] || { echo "usage: record.sh BUILD FOLDER" >&2; exit 2; }
build=$(realpath "$1")
mkdir -p "$2"
folder=$(realpath "$2")
here=$(cd "$(dirname "$0")" && pwd)
[ "$folder" != "$here" ] || { echo "say which version: $here/v1" >&2; exit 2; }
scratch=$(mktemp -d)
receiver= proxy=
end() {
  for pid in $receiver $proxy; do kill "$pid" 2> /dev/null || true; done
  rm -rf "$scratch"
}
trap end EXIT

# Data, a page of zeros, data, and a tail that is no whole page.
image() {
  seq 1 3000 | head -c 4096
  head -c 4096 /dev/zero
  seq 5000 9000 | head -c 8292
}

# The address in the first line of a file, once it is there.
address_in() {
  while ! grep -qs '^listening on ' "$1"; do sleep 0.05; done
  sed -n 's/^listening on //p;q' "$1"
}

# record SESSION FAULTS OUTPUT SEND-OPTION...
record() {
  local session=$folder/$1 said=$scratch/$1 faults=$2 output=$3
  shift 3
  rm -rf "$session"
  mkdir -p "$session"
  image > "$session/disk.img"
  "$build/migrate-recv/migrate-recv" -o "$output" "unix://@ferry-record-$$" \
    > "$said-receiver" 2> /dev/null &
  receiver=$!
  local receiver_at proxy_at
  receiver_at=$(address_in "$said-receiver")
  "$build/tests/fault_proxy/fault-proxy" --listen "unix://@ferry-record-proxy-$$" \
    --to "$receiver_at" --faults "$faults" --record "$session" > "$said-proxy" &
  proxy=$!
  proxy_at=$(address_in "$said-proxy")
  "$build/migrate-send/migrate-send" "$session/disk.img" "$proxy_at" "$@" || true
  wait "$receiver" || true
  kill "$proxy"
  wait "$proxy" || true
  receiver= proxy=
  local stream
  for stream in "$session"/*.up "$session"/*.down; do
    "$build/tests/wire/describe-stream" "$stream" > "$stream.txt"
  done
}

cd "$scratch"  # an error that is recorded names its file as the command was told
mkdir taken
: > taken/disk.img
record whole "" whole.img --channels 2 --verify full
record resent "flip:1:up:1000:0" resent.img --channels 1
record refused "" taken --channels 1
