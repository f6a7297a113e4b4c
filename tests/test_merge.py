"""Parts made by `rerank --shard`, joined: the same bytes as one job's."""

import json
from pathlib import Path

import pytest

from rrarank.errors import RrarankError
from rrarank.merge import main, merge_parts
from rrarank.rerank.__main__ import main as rerank
from rrarank.storage.journal import output_lock
from rrarank.storage.sidecar import read_sidecar

QUERIES = 41  # six blocks, the last of one query


@pytest.fixture
def job(make_job):
    return [*make_job(QUERIES), "--depth", "3"]


@pytest.fixture
def parts(job):
    for number in (1, 2, 3):
        assert rerank([*job, "--shard", f"{number}/3"]) == 0
    return [f"bm25.cross-encoder.{number}-of-3.trec" for number in (1, 2, 3)]


def test_the_whole_is_byte_identical_to_one_jobs_and_so_is_what_is_said_of_it(job, parts, capsys):
    assert rerank([*job, "--output", "whole.trec"]) == 0
    capsys.readouterr()
    assert main([parts[1], parts[2], parts[0]]) == 0
    assert capsys.readouterr().out == "bm25.cross-encoder.trec\n"
    assert Path("bm25.cross-encoder.trec").read_bytes() == Path("whole.trec").read_bytes()
    said, wanted = (dict(read_sidecar(Path(f"{name}.trec")).content) for name in ("bm25.cross-encoder", "whole"))
    assert said.pop("timings")["parts"] == 3
    del wanted["timings"], said["output"]["path"], wanted["output"]["path"]
    assert said == wanted
    assert rerank(["--run", "bm25.cross-encoder.trec", "--reranker", "bm25"]) == 0  # its sidecar names the texts


def test_texts_that_were_cut_are_added_up(job, capsys):
    job += ["--max-length", "13"]
    for number in (1, 2, 3):
        assert rerank([*job, "--shard", f"{number}/3"]) == 0
    assert rerank([*job, "--output", "whole.trec"]) == 0
    assert main([f"bm25.cross-encoder.{number}-of-3.trec" for number in (1, 2, 3)]) == 0
    cut, wanted = (read_sidecar(Path(f"{name}.trec")).content["cut"] for name in ("bm25.cross-encoder", "whole"))
    assert cut == wanted > 0


def test_more_parts_than_blocks_leave_some_empty_and_the_whole_the_same(job, capsys):
    for number in range(1, 9):
        assert rerank([*job, "--shard", f"{number}/8"]) == 0
    assert rerank([*job, "--output", "whole.trec"]) == 0
    assert main([f"bm25.cross-encoder.{number}-of-8.trec" for number in range(1, 9)]) == 0
    assert Path("bm25.cross-encoder.trec").read_bytes() == Path("whole.trec").read_bytes()


def edit(path, change):
    """The part made by other settings."""
    sidecar = json.loads(Path(f"{path}.json").read_text())
    change(sidecar)
    Path(f"{path}.json").write_text(json.dumps(sidecar))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([0, 1], "1 of 3 parts are absent ('3/3'); give them too"),
        ([0, 1, 2, 1], "part 2/3 is given 2 times"),
        ([0, 1, "whole.trec"], "whole.trec: is not a part: it was not made by rrarank.rerank --shard"),
        ([0, 1, "other.trec"], "other.trec is part 1/2, bm25.cross-encoder.1-of-3.trec 1/3; give parts of one job"),
        ([0, "bm25.trec"], "bm25.trec: no sidecar bm25.trec.json beside it"),
        (["absent.trec"], "absent.trec: no such file"),
    ],
)
def test_what_is_not_all_parts_of_one_job_is_refused(job, parts, given, said, capsys):
    rerank([*job, "--output", "whole.trec"])
    rerank([*job, "--shard", "1/2", "--output", "other.trec"])
    capsys.readouterr()
    assert main([parts[one] if isinstance(one, int) else one for one in given]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert not Path("bm25.cross-encoder.trec").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s["config"].update(depth=2), "differ in config ('depth')"),
        (lambda s: s["model"].update(fingerprint="x"), "differ in model ('fingerprint')"),
        (lambda s: s.update(backend="onnx"), "differ in backend"),
        (lambda s: s["inputs"]["topics"].update(sha256="0" * 64), "differ in inputs ('topics')"),
    ],
)
def test_parts_of_other_settings_are_refused(parts, change, said, capsys):
    edit(parts[1], change)
    assert main(parts) == 2
    err = capsys.readouterr().err
    assert said in err
    assert parts[1] in err


def test_what_an_llm_did_not_rank_is_added_up_and_decides_the_exit_code(parts, capsys):
    edit(parts[0], lambda sidecar: sidecar.update(answers={"ok": 3}, unranked=[]))
    edit(parts[1], lambda sidecar: sidecar.update(answers={"no ids": 2, "ok": 1}, unranked=["20", "21"]))
    assert main(parts) == 7
    out, err = capsys.readouterr()
    assert out == "bm25.cross-encoder.trec\n"
    assert "6 answers (ok 4, no ids 2)" in err
    assert "error: 2 queries were not ranked ('20', '21'): they keep their first-stage order" in err
    content = read_sidecar(Path("bm25.cross-encoder.trec")).content
    assert (content["answers"], content["unranked"]) == ({"ok": 4, "no ids": 2}, ["20", "21"])


def test_parts_of_which_an_llm_ranked_nothing_make_no_whole(parts, capsys):
    for number, part in enumerate(parts):
        named = {"answers": {"no ids": 2}, "unranked": [str(number)]}
        edit(part, lambda sidecar, named=named: sidecar.update(named))
    assert main(parts) == 4
    assert " ranked none of 3 queries (no ids 6); no run is written" in capsys.readouterr().err
    assert not Path("bm25.cross-encoder.trec").exists()


def test_other_threads_are_said_and_not_refused(parts, capsys):
    edit(parts[1], lambda sidecar: sidecar.update(threads=7))
    assert main(parts) == 0
    assert f"note: {parts[1]} was made with other threads" in capsys.readouterr().err


def test_a_part_that_was_changed_or_an_input_that_is_gone_is_refused(parts, capsys):
    Path("topics.tsv").rename("elsewhere.tsv")
    assert main(parts) == 2
    assert "names topics topics.tsv" in capsys.readouterr().err
    Path("elsewhere.tsv").rename("topics.tsv")
    with open(parts[0], "a") as file:
        file.write("0 Q0 d9 9 -9 x\n")
    assert main(parts) == 2
    assert "sha256 differs" in capsys.readouterr().err


def test_a_whole_that_another_job_writes_is_left_alone(parts, capsys):
    with output_lock("bm25.cross-encoder.trec"):
        assert main(parts) == 2
    assert "another job is at work on it" in capsys.readouterr().err
    assert not Path("bm25.cross-encoder.trec").exists()


def test_parts_are_joined_from_python(parts):
    assert merge_parts(parts, "whole.trec") == ["whole.trec"]
    with pytest.raises(RrarankError, match="whole.trec: exists already"):
        merge_parts(parts, "whole.trec")
    assert merge_parts(parts, "whole.trec", overwrite=True) == ["whole.trec"]


def test_an_existing_whole_needs_overwrite_and_a_part_is_never_replaced(parts, capsys):
    Path("bm25.cross-encoder.trec").write_text("precious\n")
    assert main(parts) == 2
    assert "give --overwrite" in capsys.readouterr().err
    assert main([*parts, "--output", parts[0], "--overwrite"]) == 2
    assert "would replace the input" in capsys.readouterr().err
    assert main([*parts, "--output", "-"]) == 0
    assert capsys.readouterr().out.count("\n") == 5 * QUERIES


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--budget-ms", "5"], "--shard with --budget-ms"),
        (["--submission", "--output", "x.trec"], "--shard with --submission"),
        (["--backend", "auto"], "--shard with --backend auto"),
        (["--output", "-"], "needs the part's sidecar"),
        (["--run", "-"], "could not tell whether all read one run; give a file"),
    ],
)
def test_what_needs_the_whole_run_is_refused_of_a_part(job, flags, said, capsys):
    assert rerank([*job, "--shard", "1/2", *flags]) == 2
    assert said in capsys.readouterr().err
