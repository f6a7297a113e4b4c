#!/usr/bin/env bash
# Tried: the model that ships, on towards three teachers' scores.
#
#     recipes/rra-bert-mini/second.sh WORK
#
# WORK is that of rra-bert-tiny, after its more-teachers.sh. An hour on one core.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
cd "$1"

[ -e second.jsonl ] || python "$HERE/../rra-bert-tiny/as_set.py" second.jsonl three --candidates three.npz \
    --documents 16 --queries 3600
python -m rrarank.train --config "$HERE/second.yaml" --sets second.jsonl --base "$HERE/../../prebuilt/rra-bert-mini" \
    --output second --threads 1
