#!/bin/bash
# bad_network_test.sh MIGRATE_SEND MIGRATE_RECV: images over a line between two hosts that loses,
# delays, reorders, and falls silent. Host 1 sends, host 2 receives.
set -euo pipefail
lab=$(cd "$(dirname "$0")" && pwd)
if [ "$1" != inside ]; then
  exec "$lab/run" --hosts 2 --timeout 1700 -- "$0" inside "$@" --and "$0" inside "$@"
fi
shift
. "$lab/two_hosts.sh"
send=$1
receive=$2
trial=0

line() {
  tc qdisc replace dev eth0 root netem "$@"
}

# transfer SCHEME IMAGE OPTION...: host 2 listens, and says its URI; host 1 sends there. `status` is how
# this host's command ended.
transfer() {
  local scheme=$1 image=$2 uri
  shift 2
  status=0
  if [ "$LAB_HOST" = 2 ]; then
    # A receiver waits for its sender for as long as it takes: not here.
    timeout 300 "$receive" --json "$@" --force -o got.img "$scheme://10.9.0.2:0" > received 2>&1 &
    receiver=$!
    until grep -q '"listening"' received; do
      kill -0 "$receiver" 2> /dev/null || failed "it does not listen"
      sleep 0.05
    done
    say "uri-$trial" "$(sed -n 's/.*"listening","uri":"\([^"]*\)".*/\1/p' received)"
    wait "$receiver" || status=$?
  else
    wait_for "uri-$trial"
    uri=$(cat "$LAB_WORK/uri-$trial")
    "$send" --json "$@" "$image" "$uri" > sent 2>&1 || status=$?
  fi
}

# Never backwards, and in the end all of it.
check_progress() {
  local said=$1
  sed -n 's/.*"progress","bytes_done":\([0-9]*\).*/\1/p' "$said" > progress
  sort -n -c progress || failed "progress went backwards"
  grep -q '"done"' "$said" || failed "nobody said that it is done"
}

# Each trial is run by both hosts, in the same order; `what` is its name, `lossy` what netem does.
arrives() {
  local scheme=$1 lossy=$2
  what="$scheme, $lossy" trial=$((trial + 1))
  # shellcheck disable=SC2086  # words
  line $lossy
  transfer "$scheme" "$image" --timeout 60
  [ "$status" = 0 ] || failed "status $status"
  if [ "$LAB_HOST" = 2 ]; then
    check_progress received
    [ "$(sha256sum < got.img)" = "$(sha256sum < "$image")" ] || failed "the images differ"
  else
    check_progress sent
  fi
  echo "ok $what: $(grep -o '"seconds":[0-9.]*' sent received 2> /dev/null | tail -n 1)"
}

# Six seconds long, of which progress tells every one.
slow_transfer() {
  [ "$LAB_HOST" = 2 ] || set -- "$@" --max-bandwidth 1MiB/s
  transfer tcp "$image" "$@"
}
until_it_is_under_way() {
  until grep -q '"bytes_done":[1-9]' sent; do sleep 0.05; done
}

# The line says nothing for two seconds in the middle: TCP sends again, and no time-out of ours ends.
outlives_an_outage() {
  what="an outage" trial=$((trial + 1))
  line delay 5ms
  : > sent
  if [ "$LAB_HOST" = 1 ]; then
    (
      until_it_is_under_way
      line loss 100%
      sleep 2
      line delay 5ms
    ) &
  fi
  slow_transfer --timeout 60
  [ "$status" = 0 ] || failed "status $status"
  [ "$LAB_HOST" = 1 ] || cmp got.img "$image" || failed "the images differ"
  echo "ok $what"
}

# The line dies in the middle: both sides give up after --timeout, and nothing is left of the output.
gives_up_on_a_dead_line() {
  what="a dead line" trial=$((trial + 1))
  line delay 5ms
  rm -f got.img
  : > sent
  if [ "$LAB_HOST" = 1 ]; then
    (
      until_it_is_under_way
      say dead
      line loss 100%
    ) &
  else
    (
      wait_for dead
      line loss 100%
    ) &
  fi
  slow_transfer --timeout 3
  [ "$status" = 3 ] || failed "status $status, and silence is 3"
  [ "$LAB_HOST" = 1 ] || ! ls got.img 2> /dev/null || failed "half an image is there"
  echo "ok $what: $(grep -o '"message":"[^"]*"' sent received 2> /dev/null | tail -n 1)"
}

# The same on both hosts: data, zeros, a hole, and an end that is no page's.
make_image() {
  image=guest.img
  openssl enc -aes-128-ctr -K 00 -iv 00 -in /dev/zero 2> /dev/null | head -c $((6 << 20)) > $image || true
  head -c $((4 << 20)) /dev/zero >> $image
  truncate -s $(((32 << 20) + 12345)) $image
}

cd "$TMPDIR"
modprobe sch_netem
make_image
arrives tcp 'loss 1% delay 20ms'
arrives tcp 'delay 20ms 5ms reorder 25% 50%'
arrives tls 'loss 1% delay 20ms reorder 25% 50%'
outlives_an_outage
gives_up_on_a_dead_line
echo "all arrived, or gave up as it should"
