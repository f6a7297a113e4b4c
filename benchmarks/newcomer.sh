#!/usr/bin/env bash
# A newcomer's way: a fresh clone, an empty HOME, no environment, no compiler or Java on the PATH; pip's own
# configuration is kept. Prints the seconds of `make demo` and `make test`, first and second run.
#
#     benchmarks/newcomer.sh [FOLDER]     (FOLDER is made, and kept; default: a temporary one)
set -euo pipefail
source=$(cd "$(dirname "$0")/.." && pwd)
work=${1:-$(mktemp -d)}
mkdir -p "$work/home" "$work/bin"
git clone --quiet "$source" "$work/rrarank"
if [ -d "$source/../shared" ]; then ln -sfn "$(cd "$source/../shared" && pwd)" "$work/shared"; fi
for tool in python3 make git bash sh env mkdir touch test rm cat uname; do
    ln -sf "$(command -v $tool)" "$work/bin/$tool"
done
ln -sf "$(python3 -c 'import sys; print(sys.executable)')" "$work/bin/python3"
pip_config=$(env | grep '^PIP_' || true)
cd "$work/rrarank"
for goal in demo test; do
    for round in first second; do
        started=$(date +%s)
        env -i HOME="$work/home" PATH="$work/bin" LANG=C.UTF-8 $pip_config make "$goal" >"$work/$goal.$round.log" 2>&1 ||
            { tail -40 "$work/$goal.$round.log"; exit 1; }
        echo "make $goal, $round run: $(($(date +%s) - started)) s"
    done
done
tail -25 "$work/demo.second.log"
tail -3 "$work/test.second.log"
