#!/bin/bash
# check_readme.sh COMPILER ROOT: what the README gives a VMM's author to type compiles, with a vm.h that
# declares what it asks of theirs.
set -euo pipefail
compiler=$1
root=$2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# shellcheck disable=SC2016  # these are fences, not commands
sed -n '/^```cpp$/,/^```$/ { /^```/d; p }' "$root/README.md" > "$scratch/snippet.cc"
if ! [ -s "$scratch/snippet.cc" ]; then
  echo "README.md has no C++ in it"
  exit 1
fi

cat > "$scratch/vm.h" << 'VM'
#pragma once
#include <ferry/memory.h>
#include <functional>
struct Vm {
  std::byte* ram();
  std::uint64_t ram_bytes();
  ferry::DirtyTracker& dirty_log();
  ferry::Result<void> stop();
  ferry::Result<void> go_on();
  void when_readable(int fd, std::function<void()> call);
};
VM

"$compiler" -std=c++23 -Wall -Wextra -Wshadow -Werror -fsyntax-only \
  -I "$root/lib/include" -I "$scratch" "$scratch/snippet.cc"
