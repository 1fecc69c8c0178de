#!/bin/bash
# ./demo.sh: installs what is missing, builds the two commands, makes a memory image of 1 GiB out of
# what this machine has (or takes the memory of a real guest, where tests/lab/guest-image keeps one),
# moves it over loopback, and proves that it arrived.
set -euo pipefail
cd "$(dirname "$0")"

readonly k_mib=$((1024 * 1024))
readonly k_page=4096
readonly k_image_bytes=$((1024 * k_mib))

scratch=
receiver=
clean_up() {
  if [ -n "$receiver" ]; then kill "$receiver" 2> /dev/null || true; fi
  if [ -n "$scratch" ]; then rm -rf "$scratch"; fi
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# A folder with room for two images: in memory if possible, as a guest's memory is.
make_scratch() {
  local folder=${TMPDIR:-/tmp} free
  free=$(df --output=avail -B 1 /dev/shm 2> /dev/null | tail -n 1 || echo 0)
  if [ -w /dev/shm ] && [ "$free" -gt $((3 * k_image_bytes)) ] && [ "$(memory_free)" -gt $((3 * k_image_bytes)) ]; then
    folder=/dev/shm
  fi
  mktemp -d "$folder/ferry-demo.XXXXXX"
}

memory_free() {
  awk '/^MemAvailable:/ { printf "%.0f", $2 * 1024 }' /proc/meminfo
}

build_commands() {
  echo "building the commands"
  cmake -S . -B build-demo -G Ninja -DCMAKE_BUILD_TYPE=Release -DBUILD_TESTING=OFF \
    -DFERRY_BUILD_BENCH=OFF > "$scratch/build" 2>&1 &&
    cmake --build build-demo >> "$scratch/build" 2>&1 && return
  cat "$scratch/build" >&2
  return 1
}

# Lays files ("size name", NUL-separated, on descriptor 3) into the stretch of the image that begins
# at byte $2 and has $3 bytes, as a page cache would hold them: each begins on a page of its own, and
# its last page is filled up with zeros.
lay_files() {
  local image=$1 offset=$2 room=$3 file bytes
  while [ "$room" -gt 0 ] && IFS=' ' read -r -d '' -u 3 bytes file; do
    [ "$bytes" -le "$room" ] || bytes=$room
    dd if="$file" of="$image" bs="$k_mib" iflag=count_bytes count="$bytes" \
      oflag=seek_bytes seek="$offset" conv=notrunc status=none
    bytes=$(((bytes + k_page - 1) / k_page * k_page))
    offset=$((offset + bytes))
    room=$((room - bytes))
  done
}

# A real guest's memory where one is kept, else one that is made.
get_image() {
  local image=$1
  if tests/lab/guest-image --kept "$image" 2> /dev/null; then
    echo "the memory of a guest of 1 GiB is kept here: it is copied to $scratch"
  else
    make_image "$image"
  fi
}

# Four times 256 MiB: half of it files, a quarter zeros that are written down, a quarter a hole.
make_image() {
  local image=$1 quarter=$((64 * k_mib)) offset list=$scratch/files
  echo "making a memory image of 1 GiB in $scratch"
  find /usr/lib /usr/bin /usr/share -type f -size +64k -readable -printf '%s %p\0' > "$list" 2> /dev/null || true
  # A small machine's files are laid more than once.
  exec 3< <(cat "$list" "$list" "$list" "$list")
  truncate -s "$k_image_bytes" "$image"
  for ((offset = 0; offset < k_image_bytes; offset += 4 * quarter)); do
    lay_files "$image" "$offset" $((2 * quarter))
    dd if=/dev/zero of="$image" bs="$quarter" count=1 oflag=seek_bytes \
      seek=$((offset + 2 * quarter)) conv=notrunc status=none
  done
  exec 3<&-
}

# What a file takes on the disk, in MiB.
allocated() {
  echo $(($(stat -c '%b * %B' "$1") / k_mib))
}

# Starts the receiver, and sends to where it says that it listens.
move() {
  local image=$1 copy=$2 uri
  mkfifo "$scratch/said"
  echo "\$ migrate-recv -o $copy tcp://127.0.0.1:0"
  build-demo/migrate-recv/migrate-recv -o "$copy" tcp://127.0.0.1:0 \
    > "$scratch/said" 2> "$scratch/receiver" &
  receiver=$!
  exec 4< "$scratch/said"
  if ! read -r _ _ uri <&4; then
    cat "$scratch/receiver" >&2
    return 1
  fi
  echo "listening on $uri"
  echo "\$ migrate-send $image $uri"
  build-demo/migrate-send/migrate-send "$image" "$uri"
  if ! wait "$receiver"; then
    cat "$scratch/receiver" >&2
    return 1
  fi
  receiver=
  exec 4<&-
}

# Compares the two files, and what they take of the disk.
prove() {
  local image=$1 copy=$2
  cmp "$image" "$copy"
  if [ "$(allocated "$copy")" -gt "$(allocated "$image")" ]; then
    echo "the copy takes more of the disk than the image: holes were filled" >&2
    return 1
  fi
  echo "proved: the copy is the image, byte for byte. Of 1024 MiB the image takes" \
    "$(allocated "$image") MiB on the disk, and the copy $(allocated "$copy") MiB:" \
    "holes stayed holes, and zeros became holes."
}

scratch=$(make_scratch)
.ci/install build
build_commands
get_image "$scratch/guest.img"
move "$scratch/guest.img" "$scratch/copy.img"
prove "$scratch/guest.img" "$scratch/copy.img"
