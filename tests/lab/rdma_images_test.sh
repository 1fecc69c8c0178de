#!/bin/bash
# rdma_images_test.sh MIGRATE_SEND MIGRATE_RECV: images by RDMA between two hosts, over a line that
# loses and delays, encrypted but for the pages, and with a peer that is killed; and by TCP, beside
# it. Host 1 sends, host 2 receives.
set -euo pipefail
lab=$(cd "$(dirname "$0")" && pwd)
if [ "$1" != inside ]; then
  exec "$lab/run" --hosts 2 --timeout 400 -- "$lab/rdma" "$0" inside "$@" --and "$lab/rdma" "$0" inside "$@"
fi
shift
. "$lab/two_hosts.sh"
send=$1
receive=$2
trial=0
what=

# begin NAME NETEM...: each trial is run by both hosts, in the same order.
begin() {
  what=$1 trial=$((trial + 1))
  shift
  rm -f sent received
  tc qdisc replace dev eth0 root netem "$@"
}

# Host 2: listens at SCHEME, and says its URI.
listen() {
  local scheme=$1
  shift
  rm -f got.img
  timeout 100 "$receive" --json "$@" -o got.img "$scheme://10.9.0.2:0" > received 2>&1 &
  receiver=$!
  until grep -q '"listening"' received; do
    kill -0 "$receiver" 2> /dev/null || failed "it does not listen"
    sleep 0.05
  done
  say "uri-$trial" "$(sed -n 's/.*"listening","uri":"\([^"]*\)".*/\1/p' received)"
}
uri() {
  wait_for "uri-$trial"
  cat "$LAB_WORK/uri-$trial"
}

# transfer SCHEME OPTION...: options of the sender, and `both` of either side; `status` is how this
# host's command ended.
both=()
transfer() {
  local scheme=$1
  shift
  status=0
  set -- "$@" "${both[@]}"
  if [ "$LAB_HOST" = 2 ]; then
    listen "$scheme" --timeout 60 "${both[@]}"
    wait "$receiver" || status=$?
  else
    timeout 100 "$send" --json --timeout 60 "$@" guest.img "$(uri)" > sent 2>&1 || status=$?
  fi
}

# What a done event of this host has to say.
says() {
  local said
  said=$(grep -h "$1" sent received 2> /dev/null) || true
  [ -n "$said" ] || failed "nobody says $1"
}

arrives() {
  [ "$status" = 0 ] || failed "status $status"
  [ "$LAB_HOST" = 1 ] || cmp got.img guest.img || failed "the images differ"
  echo "ok $what: $(grep -oh '"seconds":[0-9.]*' sent received 2> /dev/null | tail -n 1)"
}

# The same on both hosts: data, zeros, a hole, and an end that is no page's.
make_image() {
  openssl enc -aes-128-ctr -K 00 -iv 00 -in /dev/zero 2> /dev/null | head -c $((2 << 20)) > guest.img || true
  head -c $((1 << 20)) /dev/zero >> guest.img
  truncate -s $(((8 << 20) + 12345)) guest.img
}
placed='"placed_bytes":2097152'

images_are_placed() {
  begin 'rdma, four lanes' delay 1ms
  transfer rdma --channels 4
  arrives
  says "$placed"
  says '"encrypted":false'
}
# Chunks of 128 KiB, eight at a time, which four lanes take from each other.
little_is_pinned() {
  begin 'rdma, of which 1 MiB is pinned' delay 1ms
  both=(--rdma-pin 1MiB)
  transfer rdma --channels 4
  both=()
  arrives
  says "$placed"
}
images_are_streamed() {
  begin 'tcp, loss and delay' loss 1% delay 5ms
  transfer tcp --channels 2
  arrives
  says '"placed_bytes":0'
}
a_bad_line_harms_nothing() {
  begin 'rdma, loss and delay' loss 0.2% delay 5ms
  transfer rdma --channels 2 --verify full
  arrives
  says "$placed"
}
what_is_said_is_encrypted() {
  begin 'rdma+tls, a key for one session' delay 1ms
  transfer rdma+tls --channels 2
  arrives
  says "$placed"
  says '"encrypted":false,"cipher":"TLS_'
  says '"warning".*encrypts all but the pages'
}

# Whoever is left ends by itself, with the status of a lost peer, and shows no half image.
a_killed_receiver_ends_the_sender() {
  begin 'a killed receiver' delay 1ms
  if [ "$LAB_HOST" = 2 ]; then
    listen rdma --timeout 20
    until grep -q '"bytes_done":[1-9]' received; do
      kill -0 "$receiver" 2> /dev/null || failed "it ended before it was killed"
      sleep 0.05
    done
    # timeout's child, which has the memory.
    kill -KILL "$(cat "/proc/$receiver/task/$receiver/children")"
    wait "$receiver" 2> /dev/null || true
    [ ! -e got.img ] || failed "half an image is there"
  else
    status=0
    timeout 100 "$send" --json --timeout 20 --max-bandwidth 256KiB/s --channels 2 guest.img "$(uri)" > sent 2>&1 ||
      status=$?
    [ "$status" = 7 ] || failed "status $status, and a lost peer is 7"
  fi
  echo "ok $what: $(grep -oh '"message":"[^"]*"' sent 2> /dev/null | tail -n 1)"
}
a_killed_sender_ends_the_receiver() {
  begin 'a killed sender' delay 1ms
  if [ "$LAB_HOST" = 2 ]; then
    listen rdma --timeout 20
    status=0
    wait "$receiver" || status=$?
    [ "$status" = 7 ] || failed "status $status, and a lost peer is 7"
    [ ! -e got.img ] || failed "half an image is there"
  else
    : > sent
    "$send" --json --timeout 20 --max-bandwidth 256KiB/s guest.img "$(uri)" > sent 2>&1 &
    until grep -q '"bytes_done":[1-9]' sent; do
      kill -0 $! 2> /dev/null || failed "it ended before it was killed"
      sleep 0.05
    done
    kill -KILL $!
    wait $! 2> /dev/null || true
  fi
  echo "ok $what: $(grep -oh '"message":"[^"]*"' received 2> /dev/null | tail -n 1)"
}

cd "$TMPDIR"
modprobe sch_netem
make_image
images_are_placed
little_is_pinned
images_are_streamed
a_bad_line_harms_nothing
what_is_said_is_encrypted
a_killed_receiver_ends_the_sender
a_killed_sender_ends_the_receiver
echo "all arrived, or ended as it should"
