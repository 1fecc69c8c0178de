#!/bin/bash
# check_install.sh BUILD SOURCE COMPILER: what `cmake --install` puts somewhere is enough for a project that
# knows nothing of this tree, by find_package and by pkg-config, and shows no more than the public headers.
set -euo pipefail
build=$1
source=$2
compiler=$3
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

cmake --install "$build" --prefix "$scratch/first" > "$scratch/log"
mv "$scratch/first" "$scratch/ferry" # it may be moved afterwards
"$scratch/ferry/bin/migrate-send" --version
"$scratch/ferry/bin/migrate-recv" --version
library=$(find "$scratch/ferry" -name libferry.so)

cmake -S "$source/tests/tree/consumer" -B "$scratch/found" -G Ninja \
  -DCMAKE_PREFIX_PATH="$scratch/ferry" -DCMAKE_CXX_COMPILER="$compiler" > "$scratch/log"
cmake --build "$scratch/found" > "$scratch/log" || { cat "$scratch/log"; exit 1; }
"$scratch/found/consumer"
echo "find_package(ferry): built, and migrated"

export PKG_CONFIG_PATH
PKG_CONFIG_PATH=$(dirname "$(find "$scratch/ferry" -name ferry.pc)")
# shellcheck disable=SC2046  # flags are words
"$compiler" $(pkg-config --cflags ferry) "$source/tests/tree/consumer/main.cc" \
  -o "$scratch/packaged" $(pkg-config --libs ferry)
LD_LIBRARY_PATH=$(dirname "$library") "$scratch/packaged"
echo "pkg-config ferry: built, and migrated"

# Weak symbols are inline ones and templates of the headers.
nm --dynamic --defined-only --demangle "$library" | grep -v ' [VWu] ' > "$scratch/shown"
grep -q 'ferry::send(' "$scratch/shown"
if grep -E 'ferry::(wire|bench|\(anonymous|PageSender|Conversation|SocketChannel|Link|SendLane)' "$scratch/shown"; then
  echo "libferry.so shows what no public header declares"
  exit 1
fi
