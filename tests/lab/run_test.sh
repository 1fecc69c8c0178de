#!/bin/bash
# run_test.sh: what tests/lab/run promises.
set -euo pipefail
lab=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export TMPDIR=$scratch/tmp
mkdir "$TMPDIR"

failures=0
failed() {
  echo "FAILED: $*"
  failures=$((failures + 1))
}
expect_same() {
  [ "$2" = "$3" ] || failed "$1: '$2', not '$3'"
}
expect_nothing_left() {
  expect_same "$1: what is left in TMPDIR" "$(ls -A "$TMPDIR")" ""
}

# status_of COMMAND...: leaves what it said in $scratch/out and $scratch/err.
status_of() {
  local status=0
  "$@" > "$scratch/out" 2> "$scratch/err" || status=$?
  if [ "$status" = 77 ]; then
    cat "$scratch/err" >&2
    exit 77
  fi
  echo "$status"
}

usage_errors() {
  for words in "" "--" "--hosts 3 -- true" "--cpus many -- true" "--hosts 2 -- true" "--nonsense 1 -- true"; do
    # shellcheck disable=SC2086  # words
    expect_same "status of '$words'" "$(status_of "$lab/run" $words)" 2
  done
  expect_nothing_left "a usage error"
}

output_and_status() {
  local work=$scratch/work status
  mkdir "$work"
  status=$(status_of "$lab/run" --work "$work" -- bash -c '
    echo to stdout; echo to stderr >&2; pwd; whoami
    echo "a file" > "$LAB_WORK/file"
    touch ./tests 2> /dev/null && echo "the root is writable"
    for module in tls sch_netem vsock_loopback rdma_rxe rdma_ucm veth dummy; do
      modprobe "$module" || echo "no $module"
    done
    sleep 1000 &  # left behind
    exit 201')
  expect_same "the command's status" "$status" 201
  expect_same "stdout" "$(cat "$scratch/out")" "$(printf 'to stdout\n%s\nroot' "$PWD")"
  expect_same "stderr" "$(cat "$scratch/err")" "to stderr"
  expect_same "the work folder" "$(cat "$work/file")" "a file"
  expect_nothing_left "a command"
}

time_limit() {
  expect_same "the status when the time is over" "$(status_of "$lab/run" --timeout 1 -- true)" 124
  expect_nothing_left "a time limit"
}

# As Ctrl-C does it, once the command says that it runs.
interruption() {
  local out machine status=0
  mkfifo "$scratch/said"
  # Of its own process group, as a terminal's foreground job is; env, for a shell's background job
  # would ignore the signal.
  env --default-signal=INT "$lab/run" -- bash -c 'echo up; sleep 1000' > "$scratch/said" 2> "$scratch/err" &
  machine=$!
  read -r out < "$scratch/said"
  expect_same "the first words" "$out" up
  kill -INT "$machine"
  wait "$machine" || status=$?
  expect_same "the status of an interruption" "$status" 130
  expect_nothing_left "an interruption"
}

two_hosts() {
  local status
  status=$(status_of "$lab/run" --hosts 2 -- bash -c 'echo "I am $LAB_HOST"; echo hello > "$LAB_WORK/greeting"' \
    --and bash -c 'until [ -s "$LAB_WORK/greeting" ]; do sleep 0.1; done
      echo "got $(cat "$LAB_WORK/greeting")"; ip -brief address show dev eth0 | grep -o "10[^/]*"; exit 5')
  expect_same "the status of two" "$status" 5
  expect_same "what two said" "$(sort "$scratch/out")" "$(printf '1: I am 1\n2: 10.9.0.2\n2: got hello')"
  expect_nothing_left "two hosts"
}

usage_errors
two_hosts  # the first on a machine says that it makes the lab ready: not one whose words are all compared
output_and_status
time_limit
interruption
[ "$failures" -eq 0 ] && echo "all as promised"
