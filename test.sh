#!/bin/bash
# ./test.sh [release|asan|tsan|fuzz]...: installs what is missing, builds, and runs the tests; all
# four builds unless some are named. Stops at the first that fails; ends with ctest's closing line.
#
#   release  everything
#   asan     everything but the checks of the tree and the lab, under the address and
#            undefined-behaviour sanitizers
#   tsan     what has threads (loop, dirty, multifd, session, conformance), under the thread sanitizer
#   fuzz     ten seconds of libFuzzer for each fuzz target; skipped where there is no clang 19
#
# Where there is clang 19 it makes the sanitizer builds too, in half of the time that g++ 12 takes.
set -euo pipefail
cd "$(dirname "$0")"

builds=("$@")
[ ${#builds[@]} -gt 0 ] || builds=(release asan tsan fuzz)
for build in "${builds[@]}"; do
  case $build in
    release | asan | tsan | fuzz) ;;
    *)
      echo "usage: ./test.sh [release|asan|tsan|fuzz]..." >&2
      exit 2
      ;;
  esac
done

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# GCC 12's thread sanitizer does not know address spaces as random as newer kernels make them: its
# programs die at their start. They run without randomness where that can be had.
without_randomness() {
  if setarch -R true 2> /dev/null; then
    setarch -R "$@"
  else
    "$@"
  fi
}

# The tests that were skipped and the reasons that they gave, a line each, out of ctest's log of the
# last run. Where a program ran many of its tests at a time it names them itself.
skipped_tests() {
  awk '
    /^[0-9]+\/[0-9]+ Testing: /     { test = $3; reading = 0 }
    /: Skipped$/                    { reason = ""; reading = 1; next }
    /^\[  SKIPPED \] .*\([0-9]+ ms\)/ {
      room = test; sub(/\..*/, "", room); sub(/,$/, "", $4)
      print "skipped: " room "." $4 ": " reason; reading = 0
    }
    /^the lab cannot run here/      { print "skipped: " test ": " $0 }
    reading && NF                   { reason = reason (reason ? " " : "") $0 }
  ' "$1/Testing/Temporary/LastTest.log"
}

# Runs one preset's tests. Skips are listed before ctest's summary, which is what a run ends with.
run_tests() {
  local preset=$1 folder=$2 wrapper=$3 failed=0
  local summary=$scratch/$preset
  : > "$summary"
  # Half of the tests mostly wait.
  $wrapper ctest --preset "$preset" -j "$((2 * $(nproc)))" |
    sed -u -e '/% tests passed,/,$ {' -e "w $summary" -e 'd' -e '}' \
      -e '/^ *Start  *[0-9]*: /d' -e 's/ \(# GetParam.*\)\{0,1\} \.\.\.\.*/ ../' || failed=1
  if [ "$failed" -ne 0 ]; then
    cat "$summary"
    return 1
  fi
  skipped_tests "$folder"
  sed -n 's/^\t *[0-9]* - \(.*\) (Disabled)$/disabled: \1/p' "$summary"
  sed '/^Total Test time/q' "$summary"
}

# clang is an optional package: without it the fuzz targets are skipped, and the default compiler
# makes the other sanitizer builds.
with_clang=()
look_for_clang() {
  .ci/install clang || true
  echo 'extern "C" int LLVMFuzzerTestOneInput(const char*, long) { return 0; }' |
    clang++-19 -fsanitize=fuzzer,address -x c++ -o "$scratch/fuzzer" - 2> /dev/null || return 0
  with_clang=(-DCMAKE_CXX_COMPILER=clang++-19)
}

test_build() {
  local preset=$1 folder=build-$1 wrapper=
  [ "$preset" = release ] && folder=build
  [ "$preset" = tsan ] && wrapper=without_randomness
  printf '\n== %s\n' "$preset"
  local compiler=("${with_clang[@]}")
  [ "$preset" = release ] && compiler=()
  if [ "$preset" = fuzz ] && [ ${#compiler[@]} -eq 0 ]; then
    echo "skipped: fuzz: no clang++-19 with libFuzzer on this machine, nor in its packages"
    return 0
  fi
  # Many files at a time compile faster. The fuzzer's build takes them one by one, so that each is
  # seen to include what it needs.
  local unity=ON
  [ "$preset" = fuzz ] && unity=OFF
  # Afresh: where the compiler changes CMake forgets all other settings of an old folder.
  cmake --fresh --preset "$preset" -DCMAKE_UNITY_BUILD=$unity "${compiler[@]}" > "$scratch/configure" 2>&1 ||
    { cat "$scratch/configure" >&2; return 1; }
  # Test programs run while they are built: they are asked for their tests.
  $wrapper cmake --build --preset "$preset"
  run_tests "$preset" "$folder" "$wrapper"
}

.ci/install build test
.ci/install lab || echo "without these packages the tests of the lab are skipped"
[ "${builds[*]}" = release ] || look_for_clang
for build in "${builds[@]}"; do test_build "$build"; done
