#!/bin/bash
# check_guide.sh BUILD SOURCE COMPILER SCHEME: who types in what docs/vmm-guide.md says has a guest that
# migrates. Every block of code in it is built, against an installed Ferry; the program is run as the page
# says, but over SCHEME, for a build without TLS.
set -euo pipefail
build=$1
source=$2
compiler=$3
scheme=$4
guide=$source/docs/vmm-guide.md
scratch=$(mktemp -d)
receiver=
trap '[ -z "$receiver" ] || kill "$receiver" 2> /dev/null || true; rm -rf "$scratch"' EXIT

# block LANGUAGE: all blocks of it, one after the other.
# shellcheck disable=SC2016  # these are fences, not commands
block() {
  sed -n '/^```'"$1"'$/,/^```$/ { /^```/d; p }' "$guide"
}

# A block of another language would be one that nobody builds.
if grep '^```.' "$guide" | grep -vxE '```(cmake|cpp|console)'; then
  echo "docs/vmm-guide.md: a block that this test does not know"
  exit 1
fi
mkdir "$scratch/project"
block cmake > "$scratch/project/CMakeLists.txt"
block cpp > "$scratch/project/my-vmm.cc"

cmake --install "$build" --prefix "$scratch/ferry" > "$scratch/log"
cmake -S "$scratch/project" -B "$scratch/built" -G Ninja -DCMAKE_PREFIX_PATH="$scratch/ferry" \
  -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_CXX_FLAGS="-Wall -Wextra -Wshadow -Werror" > "$scratch/log"
cmake --build "$scratch/built" > "$scratch/log" || { cat "$scratch/log"; exit 1; }

my_vmm=$scratch/built/my-vmm
mapfile -t typed < <(block console | sed -n 's/^\$ //p')
[ "${typed[0]}" = './my-vmm receive tls://127.0.0.1:0' ]
[ "${typed[1]}" = './my-vmm send URI' ]
[ "${typed[2]}" = './my-vmm send file:///var/tmp/guest.ferry' ]
[ "${typed[3]}" = './my-vmm receive file:///var/tmp/guest.ferry' ]

mkfifo "$scratch/said"
"$my_vmm" receive "$scheme://127.0.0.1:0" > "$scratch/said" &
receiver=$!
exec 3< "$scratch/said"
read -r -t 30 _ _ where <&3
ended=0
"$my_vmm" send "$where" || ended=$?
if [ "$ended" -eq 77 ]; then
  echo "built; not run, for this kernel cannot track a process's own writes"
  exit 0
fi
[ "$ended" -eq 0 ]
read -r -t 30 last <&3
wait "$receiver"
receiver=
echo "$last"
[[ $last == 'arrived, and counted on to '* ]]

"$my_vmm" send "file://$scratch/guest.ferry"
[[ $("$my_vmm" receive "file://$scratch/guest.ferry") == 'arrived, and counted on to '* ]]
