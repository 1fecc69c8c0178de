# What a test over two hosts has on each of them; sourced. The test sets `trial`, a number, and `what`,
# its words for it, and leaves what its commands say in the files `sent` and `received`.

# The other host says that it has come to a point, by a file in the folder that both share.
say() {
  echo "${2:-}" > "$LAB_WORK/$1.new"
  mv "$LAB_WORK/$1.new" "$LAB_WORK/$1"
}
wait_for() {
  until [ -e "$LAB_WORK/$1" ]; do
    [ ! -e "$LAB_WORK/failed" ] || exit 1
    sleep 0.05
  done
}

failed() {
  echo "FAILED: trial $trial ($what): $*"
  for text in sent received; do sed "s/^/  $text: /" "$text" 2> /dev/null | tail -n 5; done
  say failed
  exit 1
}
