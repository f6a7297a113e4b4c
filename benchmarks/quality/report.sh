#!/usr/bin/env bash
# What a student reaches beside what it is compared with: dev (dl21, nq), then with --test DL19, scifact and nfcorpus dev.
#
#     benchmarks/report.sh DATA OUT [--test] [--model FOLDER] [--mpnet FOLDER]
#
# Runs and tables go to OUT; a run that is there is not made again. DL19 is a test set: look at it once per release.
set -euo pipefail
DATA=$1 OUT=$2 && shift 2
TEST="" MODEL=rra-bert-mini MPNET=""
while [ $# -gt 0 ]; do
    case $1 in
        --test) TEST=yes && shift ;;
        --model) MODEL=$2 && shift 2 ;;
        --mpnet) MPNET=$2 && shift 2 ;;
        *) echo "unknown flag $1" >&2 && exit 2 ;;
    esac
done
mkdir -p "$OUT"

rerank() { # SET RUN DEPTH NAME FLAGS...
    local output=$OUT/$1.$(basename "$2" .trec).$4.trec
    [ -e "$output.json" ] || python -m rrarank.rerank --run "$2" --topics "$DATA/$1"/topics*"$TOPICS".tsv \
        --collection "$DATA/$1/corpus.jsonl.gz" --depth "$3" --interpolate 1 --output "$output" "${@:5}" >&2
    echo "$output"
}
first_stage() { # SET: BM25's 100 best of the whole collection
    [ -e "$OUT/$1.bm25.trec.json" ] || python -m rrarank.retrieve --index "$OUT/$1.index" \
        --collection "$DATA/$1/corpus.jsonl.gz" --topics "$DATA/$1"/topics*"$TOPICS".tsv --hits 100 \
        --output "$OUT/$1.bm25.trec" >&2
    echo "$OUT/$1.bm25.trec"
}
compare() { # SET RUN DEPTH MEASURES... : the run, the bi-encoders and the student over it, the student as the baseline
    local runs=("$2" "$(rerank "$1" "$2" "$3" minilm --reranker bi-encoder)")
    [ -z "$MPNET" ] || runs+=("$(rerank "$1" "$2" "$3" mpnet --reranker bi-encoder --model "$MPNET")")
    local student && student=$(rerank "$1" "$2" "$3" student --reranker cross-encoder --model "$MODEL")
    [ "$1" != dl19 ] || [ "$(basename "$2")" != bm25.trec ] || runs+=("$DATA"/dl19/reference-runs/*.trec)
    python -m rrarank.evaluate --qrels "$DATA/$1"/qrels*"$TOPICS".txt --runs "${runs[@]}" "$student" \
        --baseline "$(basename "$student" .trec)" --measures "${@:4}"
}

TOPICS="" compare dl21 "$DATA/dl21/runs/bm25.trec" 100 ndcg@5 ndcg@10
TOPICS=.dev
compare nq "$(first_stage nq)" 20 mrr@10 ndcg@10
[ -n "$TEST" ] || exit 0
for name in bm25 bm25-rm3 tasb splade-pp ada2 repllama; do
    TOPICS="" compare dl19 "$DATA/dl19/runs/$name.trec" 100 ndcg@5 ndcg@10
done
TOPICS=.dev compare nfcorpus "$(TOPICS=.dev first_stage nfcorpus)" 100 ndcg@10
TOPICS=.train compare scifact "$(TOPICS=.train first_stage scifact)" 100 ndcg@10
