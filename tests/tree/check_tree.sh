#!/bin/bash
# check_tree.sh ROOT: who includes whom, and a few words that belong to few files. Prints one line for
# each breach, "path:line: what is wrong", and ends with 1 if there was any.
set -euo pipefail
cd "$1"

breaches=0
breach() {
  echo "$1"
  breaches=$((breaches + 1))
}

# The sources in the named folders; folders that are not there have none.
sources() {
  local folder
  for folder in "$@"; do
    [ -d "$folder" ] && find "$folder" -type f \( -name '*.cc' -o -name '*.h' \)
  done | sort
}

# lines_of PATTERN FOLDER...: "path:line:text" for each line of the sources that matches.
lines_of() {
  local pattern=$1
  shift
  sources "$@" | xargs -r -d '\n' grep -HnE -- "$pattern" || true
}

# room: the rooms whose headers it may include, beside the public ones ("ferry/...").
declare -A may_include=(
  [base]="base"
  [loop]="base loop"
  [memory]="base memory"
  [dirty]="base memory dirty"
  [wire]="base wire"
  [codec]="base codec"
  [multifd]="base loop memory wire codec multifd"
  [snapshot]="base loop memory wire multifd snapshot"
  [session]="base loop memory wire codec multifd snapshot session"
  [image]="base memory wire image"
  [console]="base console"
  [channels]="base loop memory channels"
  [rdma]="base loop memory rdma"
)

# The room of a file: lib/wire/packet.h is in wire, channels/tcp.cc in channels.
room_of() {
  local path=${1#lib/}
  echo "${path%%/*}"
}

check_includes() {
  local file line what room other
  while IFS=: read -r file line what; do
    # The one place that names every transport.
    [ "$file" = channels/make_runtime.cc ] && continue
    room=$(room_of "$file")
    [ "$room" = include ] && room=base
    other=${what#*\"}
    other=${other%%\"*}
    case $other in
      ferry/*) continue ;;
      */*) other=${other%%/*} ;;
      *) continue ;;  # its neighbour in the same folder
    esac
    case " ${may_include[$room]:-} " in
      *" $other "*) ;;
      *) breach "$file:$line: $room may not include $other" ;;
    esac
  done < <(lines_of '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' lib channels rdma)
}

# Words that only some files may say: check_words PATTERN ALLOWED WHAT FOLDER..., where ALLOWED is a
# regular expression over paths. Comments may say anything.
check_words() {
  local pattern=$1 allowed=$2 what=$3 file line text
  shift 3
  while IFS=: read -r file line text; do
    [[ $file =~ $allowed ]] && continue
    [[ ${text%%//*} =~ $pattern ]] && breach "$file:$line: $what"
  done < <(lines_of "$pattern" "$@")
  return 0
}

check_lengths() {
  local file lines
  while read -r lines file; do
    [ "$lines" -le 800 ] || breach "$file:$lines: more than 800 lines"
  done < <(sources lib channels rdma migrate-send migrate-recv | xargs -r -d '\n' wc -l | grep -v ' total$')
}

readonly k_none='^$'
check_includes
check_words '\b(epoll_|EPOLL)' '^(lib/loop/poller_epoll|rdma/wait_set)\.cc$' \
  'epoll_ stays in the epoll poller and in the wait set' lib channels rdma migrate-send migrate-recv
check_words '\b(io_uring_|IORING_)' '^(lib/loop/poller|channels/file_engine)_io_uring\.cc$' \
  'io_uring_ stays in the io_uring poller and the io_uring engine' lib channels rdma migrate-send migrate-recv
check_words 'XXH' '^lib/base/checksum\.cc$' \
  'XXH stays where checksums are made' lib channels rdma migrate-send migrate-recv
check_words 'spdlog' '^lib/base/log\.cc$' \
  'spdlog stays in the log' lib channels rdma migrate-send migrate-recv
check_words 'nlohmann' '^lib/console/[a-z_]+\.cc$' \
  'nlohmann stays in the .cc files of the console' lib channels rdma migrate-send migrate-recv
check_words '\b(SSL_|BIO_|X509_|ERR_|EVP_|HMAC\()' '^channels/tls_(context|engine|sessions|words)\.cc$' \
  "OpenSSL's words stay in four .cc files" lib channels rdma migrate-send migrate-recv
check_words 'boost' '^(((lib/console|migrate-send|migrate-recv)/[a-z_]+|channels/websocket_engine)\.cc|channels/websocket_memory\.h)$' \
  'boost stays in .cc files that read options, and in those of WebSocket' lib channels rdma migrate-send migrate-recv
check_words '\b(secure_)?getenv\b' '(^|/)main\.cc$' \
  'only main may read the environment' lib channels rdma migrate-send migrate-recv bench examples
check_words '\b(sleep_for|this_thread::sleep_until|usleep|nanosleep|sleep)[[:space:]]*\(' "$k_none" \
  'no sleep as synchronisation' lib channels rdma migrate-send migrate-recv tests
check_lengths
[ "$breaches" -eq 0 ]
