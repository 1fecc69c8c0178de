#!/bin/bash
# check_headers.sh COMPILER INCLUDE_DIR: every public header compiles on its own, and tells nobody
# outside which libraries Ferry is made of. A *_inl.h is a part of the header that includes it.
set -euo pipefail
compiler=$1
include_dir=$2

compile_alone() {
  "$compiler" -std=c++23 -Wall -Wextra -Wpedantic -Wshadow -Werror -fsyntax-only -x c++ \
    -I "$include_dir" -include "ferry/$1" /dev/null
}
export -f compile_alone
export compiler include_dir

# shellcheck disable=SC2016  # the inner shell's $1
find "$include_dir/ferry" -name '*.h' ! -name '*_inl.h' -printf '%P\0' |
  xargs -0 -n 1 -P "$(nproc)" bash -c 'compile_alone "$1"' _
