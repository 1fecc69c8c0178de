#!/bin/bash
# check_transport_table.sh PROGRAM README [--write]: between its two marks README has the table that PROGRAM
# prints. With --write it is put there.
set -euo pipefail
program=$1
readme=$2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
readonly k_begin='<!-- transports: made by tests/tree/check_transport_table.sh -->'
readonly k_end='<!-- end of transports -->'

"$program" > "$scratch/table"
grep -qxF "$k_begin" "$readme" && grep -qxF "$k_end" "$readme" || {
  echo "$readme has no place for the table"
  exit 1
}
awk -v begin="$k_begin" -v end="$k_end" -v table="$scratch/table" '
  $0 == end { inside = 0 }
  !inside { print }
  $0 == begin { inside = 1; while ((getline line < table) > 0) print line }
' "$readme" > "$scratch/readme"
if [ "${3:-}" = --write ]; then
  cp "$scratch/readme" "$readme"
elif ! diff -u "$readme" "$scratch/readme"; then
  echo "the table is not what the transports say: $0 $program $readme --write"
  exit 1
fi
