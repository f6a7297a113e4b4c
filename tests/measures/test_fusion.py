import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pandas
import pytest

from rrarank.data.trec import parse_run, read_run
from rrarank.data.types import Hit, Run
from rrarank.errors import RrarankError
from rrarank.fuse import FuseJob, fuse_job, main
from rrarank.measures.fusion import BY_RANK, BY_SCORE, METHODS, NORMS, fuse_runs
from rrarank.storage.sidecar import read_sidecar, write_sidecar

ONE = parse_run(["1 Q0 a 1 9 one", "1 Q0 b 2 5 one", "1 Q0 c 3 1 one", "2 Q0 x 1 3 one"])
TWO = parse_run(["1 Q0 c 1 .9 two", "1 Q0 b 2 .8 two", "1 Q0 d 3 .1 two", "3 Q0 z 1 1 two"])


def docids(run, qid="1"):
    return [hit.docid for hit in run[qid]]


@pytest.mark.parametrize("k", [1, 60])
def test_rrf_is_the_sum_of_reciprocal_ranks(k):
    expected: dict[str, float] = defaultdict(float)
    for run in (ONE, TWO):
        for rank, hit in enumerate(run["1"], start=1):
            expected[hit.docid] += 1 / (k + rank)
    assert {hit.docid: hit.score for hit in fuse_runs([ONE, TWO], k=k)["1"]} == pytest.approx(expected)


def test_min_max_sum_is_comb_sum():
    normed = {"a": 1.0, "b": 0.5 + 0.7 / 0.8, "c": 0 + 1.0, "d": 0.0}
    assert {hit.docid: hit.score for hit in fuse_runs([ONE, TWO], "sum")["1"]} == pytest.approx(normed, abs=1e-6)


def test_weights_are_the_runs_own():
    assert docids(fuse_runs([ONE, TWO], "wsum", weights=[1, 0.01]))[0] == "a"
    assert docids(fuse_runs([ONE, TWO], "wsum", weights=[0.01, 1]))[0] == "c"


def test_a_query_that_one_run_lacks_is_fused_over_the_others_and_order_is_kept():
    fused = fuse_runs([ONE, TWO])
    assert list(fused) == ["1", "2", "3"]
    assert (docids(fused, "2"), docids(fused, "3")) == (["x"], ["z"])


def test_a_query_that_no_run_answers_stays_empty():
    assert fuse_runs([Run({"1": []}), Run({"1": []})])["1"] == []


@pytest.mark.slow  # numba compiles each method, once a machine
@pytest.mark.parametrize("method", METHODS)
def test_every_method_keeps_every_document_once_and_prefers_what_all_runs_prefer(method):
    weights = [0.5, 0.5] if method == "wsum" else ()
    fused = fuse_runs([ONE, TWO], method, weights=weights)
    assert sorted(docids(fused)) == ["a", "b", "c", "d"]
    agreed = fuse_runs([ONE, ONE], method, weights=weights)
    assert docids(agreed) == ["a", "b", "c"]


@pytest.mark.parametrize("method", ["rrf", *(pytest.param(name, marks=pytest.mark.slow) for name in BY_RANK[1:])])
def test_ties_are_ranked_by_the_one_rule(method):
    tied = parse_run([f"1 Q0 d{i:02} 1 1 t" for i in range(30)])
    assert docids(fuse_runs([tied, tied], method)) == docids(tied) == sorted(docids(tied), reverse=True)


@pytest.mark.parametrize(
    ("runs", "settings", "message"),
    [
        ([ONE], {}, "1 runs to fuse"),
        ([ONE, TWO], {"method": "best"}, "fusion by 'best'"),
        ([ONE, TWO], {"norm": "l2"}, "'l2' scores"),
        ([ONE, TWO], {"method": "wsum", "weights": [1]}, "1 weights for 2 runs"),
        ([ONE, TWO], {"method": "wsum"}, "0 weights for 2 runs"),
        ([ONE, TWO], {"weights": [1, 2]}, "wsum needs one per run, others none"),
        ([ONE, TWO], {"method": "rbc", "phi": 1.0}, "phi 1.0"),
        ([ONE, TWO], {"method": "rbc", "phi": "0.8"}, "phi '0.8': expected between 0 and 1"),
        *[([ONE, TWO], {"k": k}, f"k {k!r}: expected a whole number from 1") for k in ("60", 0, -1, 1.5, True, None)],
        *[([ONE, TWO], {"hits": n}, f"hits {n!r}: expected a whole number from 1") for n in (0, -1, "9", None)],
        ([ONE, TWO], {"method": "wsum", "weights": "12"}, "weights '12': expected a list of numbers, one per run"),
        ([ONE, TWO], {"method": "wsum", "weights": [1, "2"]}, "weight '2': expected a finite number"),
        (None, {}, "runs is a NoneType, expected two or more runs: a list of them, or {name: run}"),
        ("bm25.trec", {}, "runs is a str, expected two or more runs"),
        (ONE, {}, "runs is a Run, expected two or more runs"),
        ({"q1": {"d1": 1.0}}, {}, "runs is a dict, expected two or more runs"),
        (pandas.DataFrame({"qid": ["q1"]}), {}, "runs is a DataFrame, expected two or more runs"),
    ],
)
def test_settings_that_cannot_be(runs, settings, message):
    with pytest.raises(RrarankError, match=re.escape(message)):
        fuse_runs(runs, **settings)


def test_numbers_of_numpys_are_numbers():
    import numpy as np

    assert fuse_runs([ONE, TWO], k=np.int64(60), hits=np.int32(1000)) == fuse_runs([ONE, TWO])  # type: ignore[arg-type]
    weighted = fuse_runs([ONE, TWO], "wsum", weights=np.array([1.0, 2.0]))  # type: ignore[arg-type]
    assert weighted == fuse_runs([ONE, TWO], "wsum", weights=(w for w in (1, 2)))  # type: ignore[arg-type]


@pytest.fixture
def job(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "topics.tsv").write_text("1\tcats\n")
    (tmp_path / "texts.tsv").write_text("a\tcats\n")
    for name in ("one", "two"):
        (tmp_path / f"{name}.trec").write_text(f"1 Q0 a 1 2 {name}\n1 Q0 b 2 1 {name}\n")
        inputs = {"topics": tmp_path / "topics.tsv", "collection": tmp_path / "texts.tsv"}
        write_sidecar(tmp_path / f"{name}.trec", inputs=inputs)
    return ["--runs", "one.trec", "two.trec"]


def test_the_fused_run_knows_its_topics_and_texts(job, tmp_path, capsys):
    assert main([*job, "--method", "rrf", "--rrf.k", "10", "--hits", "1"]) == 0
    out, err = capsys.readouterr()
    assert out == "fusion.trec\n"
    assert "2 runs, 1 queries, 1 hits" in err
    assert docids(read_run("fusion.trec")) == ["a"]
    sidecar = read_sidecar(tmp_path / "fusion.trec")
    assert sidecar is not None
    assert sidecar.content["config"]["k"] == 10
    assert sidecar.input("collection") == tmp_path / "texts.tsv"
    assert main(job) == 2
    assert "fusion.trec: exists already" in capsys.readouterr().err


def test_runs_of_different_topics_are_refused(job, tmp_path, capsys):
    (tmp_path / "other.tsv").write_text("1\tdogs\n")
    write_sidecar(tmp_path / "two.trec", inputs={"topics": tmp_path / "other.tsv"})
    assert main(job) == 2
    assert "two.trec: made for other.tsv, another run for topics.tsv" in capsys.readouterr().err
    assert not (tmp_path / "fusion.trec").exists()


def test_equal_topics_may_be_named_by_another_path(job, tmp_path):
    inputs = {"topics": tmp_path / "copy.tsv", "collection": tmp_path / "texts.tsv"}
    (tmp_path / "copy.tsv").write_bytes((tmp_path / "topics.tsv").read_bytes())
    write_sidecar(tmp_path / "two.trec", inputs=inputs)
    assert main(["--runs", "one.trec", str(tmp_path / "two.trec")]) == 0


def test_a_job_from_python_does_what_the_command_does(job, capsys):
    fused = fuse_job(FuseJob(["one.trec", "two.trec"], hits=1, output="f.trec"))
    assert docids(fused) == docids(read_run("f.trec")) == ["a"]
    assert capsys.readouterr().out == ""
    with pytest.raises(RrarankError, match="f.trec: exists already"):
        fuse_job(FuseJob(["one.trec", "two.trec"], output="f.trec"))


# -- what each method takes for granted -------------------------------------------------------------------------------


def moved(run, factor=1.0, constant=0.0):
    return Run({qid: [Hit(hit.docid, factor * hit.score + constant) for hit in hits] for qid, hits in run.items()})


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("method", ["sum", *(pytest.param(name, marks=pytest.mark.slow) for name in BY_SCORE[1:])])
def test_a_constant_less_does_not_turn_a_ranking_round(method, norm, caplog):
    """Scores below zero, as of BERT or log-probabilities: c, which both runs hold, was last by `sum`."""
    weights = [1.0, 1.0] if method == "wsum" else ()
    below = [moved(ONE, constant=-20.0), moved(TWO, constant=-20.0)]
    with caplog.at_level("INFO", "rrarank"):
        fused = fuse_runs(below, method, norm=norm, weights=weights)
    if norm not in ("max", "none"):  # these two are not meant to be the same after a shift
        assert docids(fused) == docids(fuse_runs([ONE, TWO], method, norm=norm, weights=weights))
    if method in ("sum", "mnz", "wsum"):
        assert docids(fused).index("b") < docids(fused).index("d")  # in both runs, above d where d stands
        assert min(hit.score for hit in fused["1"]) >= 0
    shifts = norm == "max" or (method in ("sum", "mnz", "wsum") and norm in ("none", "zmuv"))
    assert ("scores below 0 were shifted" in caplog.text) == shifts


def test_every_document_in_all_runs_needs_no_shift(caplog):
    with caplog.at_level("INFO", "rrarank"):
        fused = fuse_runs([moved(ONE, constant=-20.0), moved(ONE, constant=-30.0)], "sum", norm="none")
    assert {hit.docid: hit.score for hit in fused["1"]} == {"a": -32.0, "b": -40.0, "c": -48.0}
    assert caplog.text == ""


def test_a_run_that_ties_everything_decides_nothing():
    tied = parse_run([f"1 Q0 {docid} 1 7 t" for docid in "abcd"])
    assert docids(fuse_runs([tied, TWO], "sum"))[:2] == ["c", "b"]


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["min-max", "max", "sum", "zmuv", "rank"])
def test_normalised_scores_are_ranxs(norm):
    import numpy as np
    from ranx import Run as RanxRun
    from ranx.normalization import norm_switch

    scores = {f"d{number}": 10.0 / (1 + number) for number in range(7)}
    theirs = norm_switch(norm)(RanxRun({"1": scores}))["1"]
    assert NORMS[norm](np.array([*scores.values()])) == pytest.approx([theirs[docid] for docid in scores])


@pytest.mark.parametrize(
    ("runs", "settings", "message"),
    [
        (
            [ONE, Run({"1": [Hit("a", float("nan"))]})],
            {"method": "sum"},
            "runs, item 2, query '1', docid 'a': score nan",
        ),
        ([ONE, Run({"1": [Hit("a", float("inf"))]})], {"method": "rrf"}, "query '1', docid 'a': score inf, expected"),
        ([ONE, moved(TWO, 1e10)], {"method": "max", "norm": "none"}, "scores of 1e.09 and more cannot be fused by max"),
        ([ONE, TWO], {"method": "wsum", "weights": [1, -1]}, "weight -1: expected a finite number of at least 0"),
        ([ONE, TWO], {"method": "wsum", "weights": [1, float("nan")]}, "weight nan"),
        ([ONE, TWO], {"method": "wsum", "weights": [0, 0]}, "all weights are 0"),
        ([ONE, TWO], {"method": "sun"}, "did you mean 'sum'"),
    ],
)
def test_scores_and_weights_that_a_method_cannot_fuse(runs, settings, message):
    with pytest.raises(RrarankError, match=message):
        fuse_runs(runs, **settings)


@pytest.mark.slow
def test_a_read_only_machine_fuses_with_a_temporary_cache():
    """As in a container: nothing can be written but in the temporary folder."""
    code = """
import logging, sys, tempfile
logging.basicConfig(level=logging.INFO, format="%(message)s")
writable, real = tempfile.gettempdir(), tempfile.TemporaryFile
def read_only(*arguments, dir=None, **more):
    if dir and not str(dir).startswith(writable):
        raise OSError(30, "Read-only file system")
    return real(*arguments, dir=dir, **more)
tempfile.TemporaryFile = read_only
import rrarank
run = rrarank.parse_run(["1 Q0 a 1 2 t", "1 Q0 b 2 1 t"])
print([hit.docid for hit in rrarank.fuse_runs([run, run])["1"]])
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.stdout == "['a', 'b']\n", ran.stderr
    assert ran.stderr.count("numba's cache cannot be written; using ") == 1
    assert "Traceback" not in ran.stderr


def test_a_ranx_that_cannot_be_imported_is_one_line(job, tmp_path, monkeypatch, capsys):
    (tmp_path / "ranx.py").write_text("raise ImportError('numba is broken')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "ranx", raising=False)
    assert main(job) == 3
    assert capsys.readouterr().err.startswith("error: ranx cannot be imported (numba is broken)")


def test_a_ranx_that_is_not_installed_is_one_line(job, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ranx", None)
    assert main(job) == 3
    assert capsys.readouterr().err.startswith("error: ranx is not installed; it comes with the extra 'fuse'")


# -- weights chosen on judgments --------------------------------------------------------------------------------------


@pytest.fixture
def judged(tmp_path, monkeypatch):
    """Twelve queries; `good` has the relevant document first, `bad` last."""
    monkeypatch.chdir(tmp_path)
    for name, docids in (("good", "abc"), ("bad", "cba")):
        lines = (f"{qid} Q0 {d} 1 {9 - 3 * n} {name}\n" for qid in range(12) for n, d in enumerate(docids))
        (tmp_path / f"{name}.trec").write_text("".join(lines))
    (tmp_path / "qrels.txt").write_text("".join(f"{qid} 0 a 1\n" for qid in range(12)))
    return ["--runs", "bad.trec", "good.trec", "--method", "wsum", "--tune", "--qrels", "qrels.txt"]


def test_tuned_weights_favour_the_better_run(judged, capsys):
    assert main(judged) == 0
    sidecar = read_sidecar(Path("fusion.trec"))
    assert sidecar is not None
    bad, good = sidecar.content["config"]["weights"]
    assert good > bad
    assert bad + good == pytest.approx(1)
    assert docids(read_run("fusion.trec"), "0")[0] == "a"
    assert [one["system"] for one in sidecar.content["comparisons"]] == ["bad", "good", "equal weights"]
    assert "qrels" in sidecar.content["inputs"]
    assert "minus bad: +0.5000" in capsys.readouterr().err


def test_of_equally_good_weights_the_most_equal_are_taken(judged):
    main([*judged, "--step", "0.25"])
    sidecar = read_sidecar(Path("fusion.trec"))
    assert sidecar is not None
    assert sidecar.content["config"]["weights"] == [0.25, 0.75]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--tune"], "--tune chooses the weights of --method wsum on --qrels"),
        (["--tune", "--qrels", "q", "--method", "sum"], "--tune chooses the weights of --method wsum on --qrels"),
        (["--qrels", "q"], "--qrels is for --tune"),
        (["--tune", "--qrels", "q", "--method", "wsum", "--step", "0.3"], "--step 0.3: 1 is no multiple of it"),
        (["--tune", "--qrels", "q", "--method", "wsum", "--step", "0.0005"], "2,001 weights to try, at most 1,000"),
    ],
)
def test_flags_of_tuning_that_do_not_fit_are_refused(judged, capsys, flags, message):
    assert main([*judged[:3], *flags]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("method", METHODS)
def test_docids_stay_whole_where_one_run_has_longer_ones(method):
    """ranx 0.3.21 cuts them to the longest of the first run, or reads beyond the end of shorter ones."""
    short, long = {"1": {"d4": 4.0, "e": 2.0, "f": 1.0}}, {"1": {"d4": 3.0, "article-12": 2.0, "문서-7": 1.0}}
    weights = [1.0, 1.0] if method == "wsum" else []
    for runs in ([short, long], [long, short]):
        found = fuse_runs(runs, method, weights=weights)["1"]
        assert sorted(hit.docid for hit in found) == sorted({*short["1"], *long["1"]})
        if method == "wsum":  # min-max: 1, 1/3, 0 and 1, 1/2, 0
            assert {hit.docid: round(hit.score, 6) for hit in found}["article-12"] == 0.5
            assert {hit.docid: round(hit.score, 6) for hit in found}["d4"] == 2.0
