#!/bin/bash
# ktls_test.sh CONFORMANCE_TEST CHANNELS_TEST SESSION_TEST MIGRATE_SEND MIGRATE_RECV: kernel TLS, where there
# is one. The kernel's own counters say who encrypted.
set -euo pipefail
lab=$(cd "$(dirname "$0")" && pwd)
if [ "$1" != inside ]; then
  exec "$lab/run" --timeout 1700 -- "$0" inside "$@"
fi
shift
conformance_test=$1
channels_test=$2
session_test=$3
send=$4
receive=$5
cd "$TMPDIR"

# How many lines the kernel has sent for, by itself.
lines_sent() { awk '$1 == "TlsTxSw" { print $2 }' /proc/net/tls_stat; }

tests_run() { # FILE AT_LEAST
  local passed
  passed=$(sed -n 's/^\[  PASSED  \] \([0-9]*\) tests*\..*/\1/p' "$1")
  ! grep -q SKIPPED "$1" || { echo "FAILED: some were skipped"; return 1; }
  [ "${passed:-0}" -ge "$2" ] || { echo "FAILED: only ${passed:-no} tests passed"; return 1; }
}

channel_keeps_its_promises() {
  "$conformance_test" --gtest_filter='*/KernelTlsTcpV4' > conformance || { cat conformance; return 1; }
  tests_run conformance 30
  "$channels_test" --gtest_filter='TlsResumption.TheKernelEncrypts*' > channels || { cat channels; return 1; }
  tests_run channels 1
}

worn_channels_are_replaced() {
  "$session_test" --gtest_filter='*ReplacedTls*/TheKernel' > session || { cat session; return 1; }
  tests_run session 3
}

certificates() {
  mkdir tls
  (
    cd tls
    printf '[req]\ndistinguished_name=dn\n[dn]\n[ca]\nbasicConstraints=critical,CA:TRUE
keyUsage=keyCertSign\n[leaf]\nbasicConstraints=CA:FALSE\nsubjectAltName=IP:127.0.0.1\n' > config
    make() {
      local name=$1
      shift
      openssl req -x509 -config config -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
        -subj "/CN=$name" -keyout "$name-key.pem" -out "$name-cert.pem" "$@" 2> /dev/null
    }
    make ca -extensions ca
    for side in server client; do make "$side" -extensions leaf -CA ca-cert.pem -CAkey ca-key.pem; done
  )
}

# move NAME LINES TRUE_OR_FALSE OPTION...: an image, with these options on both sides; so many lines more
# must the kernel have sent for, and the reports must say so.
move() {
  local name=$1 lines=$2 wanted=$3 before uri receiver
  shift 3
  before=$(lines_sent)
  mkfifo "said-$name"
  "$receive" -o "$name.img" tls://127.0.0.1:0 "$@" --json > "said-$name" 2> "receiver-$name" &
  receiver=$!
  exec 3< "said-$name"
  read -r listening <&3
  uri=$(sed 's/.*"uri":"\([^"]*\)".*/\1/' <<< "$listening")
  "$send" guest.img "$uri" --channels 2 "$@" --json > "sender-$name"
  cat <&3 > "rest-$name"
  exec 3<&-
  wait "$receiver"
  cmp guest.img "$name.img"
  for side in sender rest; do
    grep -q "\"kernel_tls\":$wanted" "$side-$name" || { echo "FAILED: $name: $(tail -1 "$side-$name")"; return 1; }
  done
  echo "$name: $(($(lines_sent) - before)) lines more"
  [ $(($(lines_sent) - before)) -eq "$lines" ]
}

modprobe tls
head -c 3000000 /dev/urandom > guest.img
truncate -s 9000001 guest.img
certificates
channel_keeps_its_promises
worn_channels_are_replaced
# Three channels, and two ends each.
move by-a-key 6 true --ktls
move unasked 0 false
move by-certificates 6 true --ktls --tls-dir tls
move by-tls-1.2 6 true --ktls --tls-dir tls --tls-version 1.2
cat /proc/net/tls_stat
echo "all of kernel TLS as it should be"
