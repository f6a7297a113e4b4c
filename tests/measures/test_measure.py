"""A measure has one meaning, however it is spelled; values equal trec_eval's."""

import math
import os
import random
import stat
import subprocess
import zipfile
from importlib import metadata

import ir_measures
import pytest

from rrarank.data.trec import best_first, read_qrels, read_run
from rrarank.data.types import Hit, Run
from rrarank.errors import RrarankError
from rrarank.measures.measure import (
    _NAMES,
    ByMeasure,
    at_level,
    distinct,
    label,
    level_note,
    measure_names,
    parse_measure,
    parse_measures,
)
from rrarank.measures.scores import evaluate_runs
from rrarank.measures.values import per_query_scores


@pytest.mark.parametrize(
    ("spellings", "wanted"),
    [
        (["nDCG@10", "ndcg@10", "ndcg_cut_10", "ndcg_cut.10"], "nDCG@10"),
        (["RR(rel=2)@10", "mrr@10-l2", "RR( rel = 2 )@10", "RR@10-l2"], "RR(rel=2)@10"),
        (["AP", "map", "AP(rel=1)", "map-l1"], "AP(rel=1)"),
        (["P@5", "precision@5", "P_5", "P.5"], "P(rel=1)@5"),
        (["R@100", "recall@100", "recall_100"], "R(rel=1)@100"),
        (["RR", "mrr", "recip_rank"], "RR(rel=1)"),
        (["RBP(p=0.95)", "rbp.95", "RBP(rel=1,p=.95)"], "RBP(p=0.95,rel=1)"),
        (["Success@5", "hit_rate@5", "success_5"], "Success(rel=1)@5"),
        (["F1", "f1", "set_F"], "F1(rel=1)"),
        (["Bpref", "bpref"], "Bpref(rel=1)"),
        (["ERR@20", "err@20"], "ERR@20"),
        (["ndcg@5-l2"], "nDCG(rel=2)@5"),
        (["ndcg_burges@10", "nDCG(dcg='exp-log2')@10"], "nDCG_burges@10"),
    ],
)
def test_one_measure_has_many_names(spellings, wanted):
    assert {label(spelling) for spelling in spellings} == {wanted}
    assert label(wanted) == wanted


@pytest.mark.parametrize(
    "name",
    "ndcg@10 mrr@10-l2 map P@5 recall@100 rbp.8 err@20 Judged@10 hit_rate@5 bpref r-precision".split(),
)
def test_headers_can_be_pasted_into_ir_measures(name):
    ir_measures = pytest.importorskip("ir_measures")
    assert str(ir_measures.parse_measure(label(name))).partition("(")[0].partition("@")[0] == parse_measure(name).name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("precison@5", "(did you mean 'P@5'?)"),
        ("ndcg@0", "(did you mean 'nDCG'?)"),
        ("bpref@5", "Bpref takes no cutoff"),
        ("AP(rel=2,rel=3)", "'AP(rel=2,rel=3)': rel is 2 and 3; give one"),
        ("RR(rel=2)@10-l1", "rel is 2 and 1; give one"),
        ("RBP(p=0.8,p=0.5)", "p is 0.8 and 0.5; give one"),
        ("RBP.95(p=0.5)", "p is 0.5 and 0.95; give one"),
        ("ndcg_cut_10@5", "cutoff is 5 and 10; give one"),
        ("ndgc_cut_10", "(did you mean 'nDCG@10'?)"),
        ("ndgc(rel=2)@10", "(did you mean 'nDCG(rel=2)@10'?)"),
        ("recal_100-l2", "(did you mean 'R@100-l2'?)"),
        ("RR(p=0.5)", "RR has no parameter 'p=0.5'"),
        ("P(rel=0)@5", "P has no parameter 'rel=0'"),
        ("Judged(rel=2)@10", "Judged takes no relevance level; it counts every judgment"),
        ("judged@10-l1", "Judged takes no relevance level"),
        ("P_0", "'P_0'"),
        ("", "''"),
    ],
)
def test_what_no_measure_is_called_is_refused(name, said):
    with pytest.raises(RrarankError, match="^'") as error:
        parse_measure(name)
    assert said in str(error.value)


def test_what_another_tool_measures_is_not_mistaken_for_a_name_close_to_it():
    with pytest.raises(RrarankError, match="^'set_map'$"):
        parse_measure("set_map")


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ("nDCG@10", ["nDCG@10"]),
        ("nDCG@10 RR@10, AP,", ["nDCG@10", "RR(rel=1)@10", "AP(rel=1)"]),
        ("nDCG@10,RBP(p=.5, rel=2)@10", ["nDCG@10", "RBP(p=0.5,rel=2)@10"]),
        ([" P@5\tRR( rel = 2 )@10\n", "map"], ["P(rel=1)@5", "RR(rel=2)@10", "AP(rel=1)"]),
        (ir_measures.RR(rel=2) @ 10, ["RR(rel=2)@10"]),
        ([ir_measures.nDCG @ 5, "ndcg@5", "map"], ["nDCG@5", "AP(rel=1)"]),
        ((name for name in ["ndcg_cut_10", "nDCG@10", "AP", "map-l1"]), ["nDCG@10", "AP(rel=1)"]),
    ],
)
def test_measures_come_as_a_name_as_several_and_as_objects_each_once(given, names):
    assert distinct(measure_names(given)) == names


@pytest.mark.parametrize("text", ["", " ", ",", "RR(rel=2", "RR)@10, AP"])
def test_a_string_of_names_with_a_fault_is_one_line(text):
    with pytest.raises(RrarankError, match=r"^measures .--measures.: not understood: ['(][^\n]*; known: nDCG"):
        evaluate_runs({"1": {"a": 1}}, {"r": ranked("a")}, measures=text)


@pytest.mark.parametrize("given", [None, 3, [3], [None], ["map", 10.0]])
def test_what_is_no_name_of_a_measure_is_one_line(given):
    with pytest.raises(RrarankError, match=r"^measures .--measures.: .*, expected .*names? such as nDCG@10$"):
        measure_names(given)


def test_values_are_found_by_any_spelling_and_by_objects():
    found = ByMeasure({"nDCG@10": 1.0, "AP(rel=2)": 0.5, "RR(rel=1)": 0.2, "RR(rel=2)": 0.1})
    names = ("nDCG@10", "ndcg@10", "ndcg_cut_10", "AP(rel=2)", "map", "mrr", "RR-l2", "RR( rel = 2 )")
    assert [found[name] for name in names] == [1, 1, 1, 0.5, 0.5, 0.2, 0.1, 0.1]
    objects = (ir_measures.nDCG @ 10, ir_measures.AP(rel=2), ir_measures.AP, ir_measures.RR, ir_measures.RR(rel=2))
    assert [found[one] for one in objects] == [1, 0.5, 0.5, 0.2, 0.1]
    assert "nDCG@10" in found
    assert ir_measures.nDCG @ 10 in found
    assert "nDCG@5" not in found
    assert ir_measures.nDCG @ 5 not in found
    assert found.get("nope", 7) == 7
    assert found.get(ir_measures.nDCG @ 10) == 1
    for name in ("nDCG@5", "nope", "RR-l3", 3, ir_measures.nDCG @ 5, ir_measures.SetAP):
        with pytest.raises(KeyError):
            found[name]  # type: ignore[index]


def test_every_lookup_of_an_evaluation_takes_objects_and_any_spelling():
    found = evaluate_runs(
        {"1": {"a": 2}}, {"x": ranked("ba"), "y": ranked("ab")}, measures=["mrr@10-l2", "ndcg_cut_10"]
    )
    for name in ("RR(rel=2)@10", "mrr@10-l2", "recip_rank@10", ir_measures.RR(rel=2) @ 10):
        assert (found.rows[0].means[name], found.per_query["x"][name]["1"], found.floor[name]) == (0.5, 0.5, 0.75)
    assert found.rows[1].means[ir_measures.nDCG @ 10] == 1


def test_what_is_found_is_named_as_tables_print_it():
    found = evaluate_runs({"1": {"a": 2}}, {"x": ranked("ba"), "y": ranked("ab")}, measures="mrr", rel_level=2)
    keys = [
        [*found.floor],
        [*found.rows[0].means],
        [*found.rows[0].per_query],
        [one.measure for one in found.comparisons],
    ]
    assert keys == [["RR(rel=2)"]] * 4


def test_all_bad_names_are_reported_at_once():
    with pytest.raises(RrarankError) as error:
        parse_measures(["map", "ndgc@10", "best", "recal"])
    assert all(name in str(error.value) for name in ("'ndgc@10' (did you mean 'nDCG@10'?)", "'best'", "'recal' (did"))
    with pytest.raises(RrarankError, match="none given"):
        parse_measures([])


def test_a_level_is_given_where_it_is_open():
    assert at_level(["nDCG@10", "RR@10", "AP(rel=3)", "ERR@20"], 2) == ["nDCG@10", "RR@10-l2", "AP(rel=3)", "ERR@20"]


@pytest.mark.parametrize(
    ("measures", "grades", "named"),
    [
        (["map"], [0, 1, 3], "AP(rel=1): "),
        (["map", "RR", "AP", "ndcg@10"], [1, 2], "AP(rel=1), RR(rel=1): "),
        (["map", "AP(rel=1)"], [1, 2], ""),  # the level is stated beside
        (["map-l2", "AP(rel=1)"], [0, 1, 3], ""),
        (["ndcg@10", "ERR@20", "Judged@10", "DCG"], [0, 1, 3], ""),
        (["map"], [0, 1], ""),
        (["map"], [0, 2, 3], ""),  # from 1 and from 2 on is the same
        (["map"], [-2, 0], ""),
        (["map"], [], ""),
    ],
)
def test_the_level_that_was_taken_is_noted_where_another_would_matter(measures, grades, named):
    note = level_note(measures, {str(number): {"a": grade} for number, grade in enumerate(grades)})
    assert note.startswith(named)
    assert bool(note) == bool(named)
    assert not note or f"go up to {max(grades)}" in note


# -- values -----------------------------------------------------------------------------------------------------------


def ranked(docids):
    return Run({"1": [Hit(docid, float(-rank)) for rank, docid in enumerate(docids)]})


@pytest.mark.parametrize(("docids", "value"), [("ab", 1.0), ("axb", 1.0), ("a", 0.5), ("xyza", 0.5)])
def test_bpref_without_judged_negatives_is_the_share_of_relevant_found(docids, value):
    assert per_query_scores({"1": {"a": 1, "b": 1}}, ranked(docids), ["bpref"]) == {"bpref": {"1": value}}


def test_bpref_takes_a_negative_grade_for_no_judgment_as_trec_eval_does():
    assert per_query_scores({"1": {"a": 1, "spam": -2}}, ranked(["spam", "a"]), ["bpref"])["bpref"]["1"] == 1.0


def test_measures_that_trec_eval_lacks_by_hand():
    qrels = {"1": {"a": 3, "b": 1, "c": 0}}
    found = per_query_scores(qrels, ranked("cab"), ["RBP(p=0.5)", "ERR@2", "dcg", "ndcg_burges", "Judged@2", "mrr@1"])
    assert found["RBP(p=0.5)"]["1"] == pytest.approx(0.5 * (0.5 + 0.25))
    assert found["ERR@2"]["1"] == pytest.approx(7 / 16 / 2)
    assert found["dcg"]["1"] == pytest.approx(3 / math.log2(3) + 1 / 2)
    assert found["ndcg_burges"]["1"] == pytest.approx((7 / math.log2(3) + 1 / 2) / (7 + 1 / math.log2(3)))
    assert found["Judged@2"]["1"] == 1.0
    assert found["mrr@1"]["1"] == 0.0


def test_a_query_with_negative_grades_only_counts_as_zero():
    found = per_query_scores({"1": {"a": -1}}, ranked("a"), ["map", "bpref", "ndcg@10", "rbp.8", "f1@3"])
    assert all(values == {"1": 0.0} for values in found.values())


# -- against trec_eval itself, the program ----------------------------------------------------------------------------

FOURTEEN = {
    "nDCG": "ndcg", "nDCG@5": "ndcg_cut_5", "nDCG@10": "ndcg_cut_10", "AP": "map", "AP@20": "map_cut_20",
    "RR": "recip_rank", "R@100": "recall_100", "P@5": "P_5", "P": "set_P", "F1": "set_F", "Rprec": "Rprec",
    "Bpref": "bpref", "Success@5": "success_5", "NumRelRet": "num_rel_ret",
}  # fmt: skip
WANTED = ["ndcg", "ndcg_cut.5,10", "map", "map_cut.20", "recip_rank", "recall.100", "P.5", "set_P", "set_F", "Rprec",
          "bpref", "success.5", "num_rel_ret"]  # fmt: skip


@pytest.fixture(scope="module")
def trec_eval(tmp_path_factory):
    """NIST's program, as Anserini's jar carries it."""
    jars = [file.locate() for file in metadata.files("pyserini") or () if "fatjar" in str(file)]
    if not jars or os.uname().machine != "x86_64":
        pytest.skip("no trec_eval for this machine")
    program = tmp_path_factory.mktemp("bin") / "trec_eval"
    with zipfile.ZipFile(str(jars[0])) as jar:
        program.write_bytes(jar.read("trec_eval/trec_eval-linux-amd64"))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def random_collection(rng, folder):
    """Qrels and a run as files: ties, unjudged and unanswered queries, negative grades, queries without a negative."""
    judged, hits = [], []
    for qid in rng.sample(range(1, 60), 8):
        pool = [f"d{number}" for number in range(rng.choice([3, 30, 200]))]
        grades = rng.choice([[0, 0, 1, 2, 3], [1, 2], [0], [-1, 0, 1], [0, 1]])
        documents = rng.sample(pool + [f"e{number}" for number in range(5)], rng.randint(1, len(pool)))
        judged += [f"{qid} 0 {docid} {rng.choice(grades)}" for docid in documents]
        judged.append(f"{qid} 0 first {max(grades)}")  # trec_eval stops at a query with negative grades alone
        if rng.random() < 0.8:
            found = rng.sample(pool, rng.randint(1, len(pool)))
            score = rng.choice([rng.random, lambda: rng.randint(0, 3), lambda: -1.5])
            hits += [f"{qid} Q0 {docid} 0 {score()} t" for docid in found]
    (folder / "qrels.txt").write_text("\n".join(judged) + "\n")
    (folder / "run.trec").write_text("\n".join([*hits, "99 Q0 d1 1 1 t"]) + "\n")


@pytest.mark.slow
@pytest.mark.parametrize("level", [1, 2])
def test_fourteen_measures_equal_trec_evals_on_two_hundred_random_collections(level, trec_eval, tmp_path):
    rng = random.Random(level)
    compared = 0
    for _ in range(200):
        random_collection(rng, tmp_path)
        command = [trec_eval, "-q", "-n", f"-l{level}"]
        command += [part for name in WANTED for part in ("-m", name)] + [tmp_path / "qrels.txt", tmp_path / "run.trec"]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        theirs = {(name.strip(), qid): float(value) for name, qid, value in (line.split("\t") for line in lines)}
        names = [name if name.startswith("nDCG") else at_level([name], level)[0] for name in FOURTEEN]
        ours = per_query_scores(read_qrels(tmp_path / "qrels.txt"), read_run(tmp_path / "run.trec"), names)
        for name, trec_evals in zip(names, FOURTEEN.values(), strict=True):
            for qid, value in ours[name].items():
                assert value == pytest.approx(theirs.get((trec_evals, qid), 0.0), abs=5.1e-5), (name, qid)
                compared += (trec_evals, qid) in theirs
    assert compared > 14 * 200 * 4


RANX = (  # not rbp, which ranx multiplies by the grade
    "ndcg ndcg@10 ndcg@7 map map@20 mrr mrr@3 recall@10 recall precision@5 precision f1 f1@5 r-precision "
    "hit_rate@5 hits@10 dcg@10 ndcg_burges@10 map-l2 mrr@10-l2"
).split()


@pytest.mark.slow
def test_ranx_gives_the_same_values_on_two_hundred_random_sets():
    import ranx

    rng = random.Random(3)
    for _ in range(200):
        pool = [f"d{number}" for number in range(40)]
        qrels = {
            str(q): {docid: rng.choice([0, 1, 2, 3]) for docid in rng.sample(pool, 20)} | {"x": 3} for q in range(5)
        }
        tied = {qid: [Hit(docid, float(rng.randint(0, 5))) for docid in rng.sample(pool, 30)] for qid in qrels}
        run = Run({qid: best_first(hits) for qid, hits in tied.items()})
        falling = {qid: {hit.docid: 1e3 - rank for rank, hit in enumerate(hits)} for qid, hits in run.items()}
        theirs = ranx.evaluate(ranx.Qrels(qrels), ranx.Run(falling), RANX, return_mean=False)
        ours = per_query_scores(qrels, run, RANX)
        for name in RANX:
            assert list(ours[name].values()) == pytest.approx(list(theirs[name]), abs=1e-6), name


@pytest.mark.slow
def test_what_ir_measures_hands_to_a_program_is_computed_alike_to_its_five_digits():
    """TREC's gdeval.pl, which ir_measures runs for ERR and for nDCG with gains of 2^grade - 1."""
    import ir_measures

    if not ir_measures.gdeval.is_available():
        pytest.skip("no perl")
    rng = random.Random(5)
    names = ["ERR@20", "ERR@3", "nDCG(dcg='exp-log2')@10"]
    compared = 0
    for _ in range(20):
        pool = [f"d{number}" for number in range(40)]
        qrels = {str(q): {docid: rng.choice([0, 1, 2, 3, 4]) for docid in rng.sample(pool, 20)} for q in range(5)}
        run = Run({qid: [Hit(docid, 9.0 - rank) for rank, docid in enumerate(rng.sample(pool, 30))] for qid in qrels})
        scores = {qid: {hit.docid: hit.score for hit in hits} for qid, hits in run.items()}
        ours = per_query_scores(qrels, run, names)
        measures = {ir_measures.parse_measure(name): name for name in names}
        for one in ir_measures.gdeval.iter_calc(list(measures), qrels, scores):
            assert ours[measures[one.measure]][one.query_id] == pytest.approx(one.value, abs=1e-5), one
            compared += 1
    assert compared == 20 * 5 * len(names)


# -- against ir_measures, over all queries -----------------------------------------------------------------------------

WHOLE_IN_IR_MEASURES = {"P": "SetP", "R": "SetR", "F1": "SetF", "nDCG_burges": "nDCG(dcg='exp-log2')"}
CUTOFF = {"nDCG", "AP", "RR", "R", "P", "Success", "RBP", "ERR", "Judged", "nDCG_burges"}  # in ir_measures too
NOT_IN_IR_MEASURES = {"DCG", "DCG_burges"}
NEEDS_A_CUTOFF = {"Success", "ERR", "nDCG_burges"}


@pytest.mark.parametrize("name", [name for name in _NAMES if name not in NOT_IN_IR_MEASURES])
def test_every_measure_is_what_ir_measures_gives_over_all_queries(name):
    """Means, and sums where trec_eval has sums; a query is unanswered, another has nothing relevant."""
    rng = random.Random(name)
    pool = [f"d{number}" for number in range(30)]
    qrels = {str(q): {docid: rng.choice([0, 1, 2]) for docid in rng.sample(pool, 12)} for q in range(6)}
    qrels["5"] = dict.fromkeys(qrels["5"], 0)
    run = Run({qid: [Hit(docid, -rank) for rank, docid in enumerate(rng.sample(pool, 20))] for qid in [*qrels][1:]})
    scores = {qid: {hit.docid: hit.score for hit in hits} for qid, hits in run.items()}
    level = "" if parse_measure(name).is_graded else "(rel=2)"
    asked = [] if name in NEEDS_A_CUTOFF else [(f"{name}{level}", WHOLE_IN_IR_MEASURES.get(name, name) + level)]
    asked += [(f"{name}{level}@7", (WHOLE_IN_IR_MEASURES[name] if "_" in name else name) + f"{level}@7")] * (
        name in CUTOFF
    )
    for ours, theirs in asked:
        measure = ir_measures.parse_measure(theirs)
        if not ir_measures.DefaultPipeline.supports(measure):
            pytest.skip(f"ir_measures needs another program for {theirs}")
        wanted = ir_measures.calc_aggregate([measure], qrels, scores)[measure]
        found = evaluate_runs(qrels, {"r": run}, measures=[ours]).rows[0].means[ours]
        assert found == pytest.approx(wanted, abs=1e-5 if "_" in name or name == "ERR" else 1e-9)  # gdeval rounds
        is_sum = isinstance(measure.aggregator(), ir_measures.measures.SumAgg)
        assert parse_measure(ours).is_sum == is_sum
        assert found > 0


def test_a_sum_over_the_queries_is_shown_as_one_and_compared_query_by_query():
    qrels = {str(q): {"a": 2, "b": 1} for q in range(25)}
    some, all_ = (Run({qid: [Hit(docid, -ord(docid)) for docid in docids] for qid in qrels}) for docids in ("ax", "ab"))
    for name, sums in {"num_rel_ret": (25, 50), "hits@1": (25, 25), "NumRet(rel=2)": (25, 25)}.items():
        found = evaluate_runs(qrels, {"some": some, "all": all_}, measures=[name, "P@2"])
        assert tuple(row.means[name] for row in found.rows) == sums
        systems, compared = found.tables().values()
        assert [row[1].text for row in systems.rows[1:]] == [str(number) for number in sums]
        assert f"{label(name)}: the sum over the queries." in systems.note
        assert compared.rows[0][1].text == f"{label(name)} per query"
        assert found.comparisons[0].mean == (sums[1] - sums[0]) / 25


def test_the_object_of_ir_measures_for_relevant_retrieved_documents_is_taken():
    assert label(ir_measures.NumRelRet) == "NumRelRet(rel=1)"
    assert label(ir_measures.NumRet(rel=2)) == "NumRelRet(rel=2)"
    with pytest.raises(
        RrarankError, match="^'NumRet': counts all that was retrieved; NumRelRet counts what is relevant$"
    ):
        parse_measure("NumRet")


# -- nothing is concluded from what is not a number -------------------------------------------------------------------


def test_runs_without_a_judged_negative_compare_by_bpref():
    qrels = {str(q): {"a": 1, "b": 1, "c": 1, "d": 1} for q in range(10)}
    whole, part = (
        Run({qid: [Hit(docid, -ord(docid)) for docid in docids] for qid in qrels}) for docids in ("abcd", "a")
    )
    found = evaluate_runs(qrels, {"whole": whole, "part": part}, measures=["bpref"])
    assert [row.means["bpref"] for row in found.rows] == [1.0, 0.25]
    [compared] = found.comparisons
    assert (compared.mean, compared.reading) == (-0.75, "worse")
