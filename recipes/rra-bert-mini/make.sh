#!/usr/bin/env bash
# Makes prebuilt/rra-bert-mini again from the data, about three hours on two cores:
#
#     recipes/rra-bert-mini/make.sh ../shared/data WORK
#
# Each step is skipped where its output is there. DATA holds nq/ (questions, paragraphs, judgments) and dl22/ (topics,
# passages, first stages, TREC participants' runs).
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
DATA=$(cd "$1" && pwd)
mkdir -p "$2" && cd "$2"
rrarank() { python -m "rrarank.$1" "${@:2}"; }

# 1. nq: BM25's candidates, ten best and ten worst of fifty, scored by all-MiniLM-L6-v2; its judgments laid over them.
NQ=(--topics "$DATA/nq/topics.train.tsv" --collection "$DATA/nq/corpus.jsonl.gz")
[ -e nq.bm25.trec.json ] || rrarank retrieve --index nq-bm25 "${NQ[@]}" --hits 50 --output nq.bm25.trec
[ -e nq-dense.json ] || rrarank retrieve --dense --index nq-dense "${NQ[@]}" --hits 1 --output nq.dense.trec
[ -e nq.jsonl.json ] || rrarank label --run nq.bm25.trec --preranker bm25 \
    --teacher bi-encoder --teacher-index nq-dense --output nq.jsonl
[ -e nq.judged.jsonl.json ] || rrarank sets judge nq.jsonl --qrels "$DATA/nq/qrels.train.txt" --output nq.judged.jsonl

# 2. dl22: the union of three first stages, ordered by 23 participants' runs; what few of them hold is missing.
[ -e dl22.trec.json ] || rrarank fuse --runs "$DATA"/dl22/runs/{bm25,bm25-rm3,splade-pp}.trec --output dl22.trec
[ -e dl22.jsonl.json ] || rrarank label --run dl22.trec --topics "$DATA/dl22/topics.tsv" \
    --collection "$DATA/dl22/corpus.jsonl.gz" --preranker bm25 --depth 400 --k-top 200 --k-bottom 200 \
    --teacher runs --teacher-runs "$DATA"/dl22/teacher-runs/*.trec.gz --output dl22.jsonl

# 3. The student: warm-up on nq, then RRA-BERT on dl22.
[ -e warm-up/config.json ] || rrarank train --config "$HERE/warm-up.yaml" --sets nq.judged.jsonl --output warm-up
[ -e rra-bert-mini/config.json ] || rrarank train --config "$HERE/rra-bert.yaml" --sets dl22.jsonl --base warm-up \
    --output rra-bert-mini
