"""The main job as a user types it."""

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rrarank.data.trec import best_first, read_run
from rrarank.rerank.__main__ import main

RUN = "".join(f"{qid} Q0 d{n} {n} {10 - n} bm25\n" for qid in range(1, 11) for n in range(1, 6))
TOPICS = "".join(f"{qid}\twhy cats and dogs {qid}\n" for qid in range(1, 11))
TEXTS = "".join(json.dumps({"id": f"d{n}", "contents": "tea " * n + "cat"}) + "\n" for n in range(1, 6))


@pytest.fixture
def job(tmp_path, monkeypatch, cross_encoder_folder):
    """Flags of a small job in an empty folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bm25.trec").write_text(RUN)
    (tmp_path / "topics.tsv").write_text(TOPICS)
    (tmp_path / "texts.jsonl").write_text(TEXTS)
    flags = ["--run", "bm25.trec", "--topics", "topics.tsv", "--collection", "texts.jsonl"]
    return [*flags, "--reranker", "cross-encoder", "--model", str(cross_encoder_folder), "--device", "cpu"]


def test_path_on_stdout_summary_on_stderr(job, tmp_path, capsys):
    assert main(job) == 0
    out, err = capsys.readouterr()
    assert out == "bm25.cross-encoder.trec\n"
    assert "10 queries, 50 pairs in" in err
    assert "0 without text" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "bm25.cross-encoder.trec", "bm25.cross-encoder.trec.json", "bm25.trec", "texts.jsonl", "topics.tsv"
    ]  # fmt: skip


def test_sidecar_lets_the_run_be_reranked_again_without_flags(job, capsys):
    main(job)
    assert main(["--run", "bm25.cross-encoder.trec", "--reranker", "bm25", "--output", "again.trec"]) == 0
    first, again = read_run("bm25.cross-encoder.trec"), read_run("again.trec")
    assert {qid: [h.docid for h in first[qid]] for qid in first} == {q: [h.docid for h in again[q]] for q in again}


def test_sidecar_names_no_absolute_path(job, tmp_path, cross_encoder_folder):
    main(job)
    text = (tmp_path / "bm25.cross-encoder.trec.json").read_text()
    assert str(tmp_path) not in text
    assert str(cross_encoder_folder) not in text
    assert json.loads(text)["inputs"]["topics"]["path"] == "topics.tsv"


def test_existing_output_needs_overwrite(job, tmp_path, capsys):
    (tmp_path / "bm25.cross-encoder.trec").write_text("precious\n")
    assert main(job) == 2
    assert "give --overwrite" in capsys.readouterr().err
    assert (tmp_path / "bm25.cross-encoder.trec").read_text() == "precious\n"
    assert main([*job, "--overwrite"]) == 0
    assert len(read_run("bm25.cross-encoder.trec")) == 10


def test_dry_run_writes_nothing_and_loads_no_model(job, tmp_path, capsys):
    before = sorted(tmp_path.iterdir())
    assert main([*job, "--dry-run", "--reranker", "bi-encoder"]) == 0
    assert "would re-rank 10 queries, 50 pairs, 0 without text" in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


def test_dry_run_looks_for_the_model(job, capsys):
    assert main([*job, "--dry-run", "--model", "no-such/model"]) == 4
    assert "model 'no-such/model' is not on disk" in capsys.readouterr().err


def test_a_journal_that_is_none_is_left_alone(job, tmp_path, capsys):
    (tmp_path / "out.trec.journal").write_text("my diary\n")
    assert main([*job, "--output", "out.trec"]) == 2
    assert "out.trec.journal: exists and is not a journal" in capsys.readouterr().err
    assert (tmp_path / "out.trec.journal").read_text() == "my diary\n"


def test_a_journal_of_an_earlier_version_is_refused_and_kept(job, tmp_path, capsys):
    """Finished work is not thrown away silently, nor mixed with scores of another version."""
    old = b'{"key": "b0fe98a2", "value": [[["d1", 0.5]]]}\n'
    (tmp_path / "out.trec.journal").write_bytes(old)
    for flags in ([], ["--overwrite"]):
        assert main([*job, "--output", "out.trec", *flags]) == 2
        assert capsys.readouterr().err == (
            "error: out.trec.journal: was begun by an earlier version of rrarank, and this version "
            "cannot go on from it; finish the job with that version, or remove the file to start anew\n"
        )
        assert (tmp_path / "out.trec.journal").read_bytes() == old
    (tmp_path / "out.trec.journal").unlink()
    assert main([*job, "--output", "out.trec"]) == 0


def test_finished_blocks_of_another_job_on_the_same_output_are_kept(job, tmp_path, monkeypatch, capsys):
    from rrarank.storage.journal import Journal

    job = [*job, "--output", "out.trec"]
    with monkeypatch.context() as context:
        context.setattr("rrarank.rerank.job.write_run", interrupted_after(2))
        assert main(job) == 130
    assert main([*job, "--depth", "2"]) == 0
    assert "out.trec.journal stays: 2 of its records are of another job" in capsys.readouterr().err
    with Journal(tmp_path / "out.trec.journal") as journal:
        assert len(journal) == 4
    assert main([*job, "--overwrite"]) == 0  # goes on from its own blocks
    assert "pairs/s" not in capsys.readouterr().err


def interrupted_after(blocks):
    """A writer that is interrupted once so many blocks have come."""

    def write(path, run, tag):
        for place, _ in enumerate(run, start=1):
            if place == 8 * (blocks - 1) + 1:
                raise KeyboardInterrupt

    return write


def test_a_job_is_the_same_from_python(job, tmp_path):
    from rrarank import Origins, RerankConfig, RerankJob, rerank_job

    assert main([*job, "--depth", "3", "--output", "command.trec"]) == 0
    config, origins = RerankConfig(depth=3), Origins(topics="topics.tsv", collection="texts.jsonl")
    settings = {"model": job[job.index("--model") + 1], "device": "cpu"}
    called = RerankJob("bm25.trec", origins, "cross-encoder", settings, config, output="python.trec")
    assert rerank_job(called) == ["python.trec"]
    assert Path("python.trec").read_bytes() == Path("command.trec").read_bytes()
    one, two = (json.loads(Path(f"{name}.trec.json").read_text()) for name in ("command", "python"))
    for sidecar in (one, two):
        del sidecar["timings"], sidecar["output"]["path"]
    assert one == two


def test_a_device_gets_neither_sidecar_nor_journal(job, capsys):
    assert main([*job, "--output", "/dev/null"]) == 0
    assert not Path("/dev/null.json").exists()


def test_a_folder_as_output_leaves_nothing_behind(job, tmp_path, capsys):
    (tmp_path / "folder").mkdir()
    assert main([*job, "--output", "folder", "--overwrite"]) == 2
    assert "folder: is a folder, expected a file to write" in capsys.readouterr().err
    assert not (tmp_path / "folder.journal").exists()


def test_model_name_is_the_folders_even_if_typed_as_a_dot(job, tmp_path, cross_encoder_folder, monkeypatch):
    paths = [str(tmp_path / name) for name in ("bm25.trec", "topics.tsv", "texts.jsonl")]
    monkeypatch.chdir(cross_encoder_folder)
    flags = ["--run", paths[0], "--topics", paths[1], "--collection", paths[2], "--output", str(tmp_path / "o.trec")]
    assert main([*flags, "--reranker", "cross-encoder", "--model", "."]) == 0
    assert json.loads((tmp_path / "o.trec.json").read_text())["model"]["name"] == cross_encoder_folder.name


def test_output_to_stdout_is_the_run_alone(job, capsys):
    assert main([*job, "--output", "-", "--hits", "2", "--runtag", "mine"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 20
    assert {len(line.split()) for line in lines} == {6}
    assert {line.split()[5] for line in lines} == {"mine"}


def test_missing_texts_are_named_and_refused_unless_skipped(job, tmp_path, capsys):
    (tmp_path / "texts.jsonl").write_text(TEXTS.split("\n", 1)[1])
    assert main(job) == 2
    assert "1 documents have no text in texts.jsonl ('d1')" in capsys.readouterr().err
    assert main([*job, "--skip-missing"]) == 0
    assert {hits[-1].docid for hits in read_run("bm25.cross-encoder.trec").values()} == {"d1"}


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (["--reranker", "cross-encodr"], 2, "no reranker named 'cross-encodr'; did you mean 'cross-encoder'?"),
        (["--run", "absent.trec"], 2, "absent.trec: no such file (looked in ./, ./runs/ and the package)"),
        (["--model", "owner/absent"], 4, "model 'owner/absent' is not on disk, and HF_HUB_OFFLINE is set"),
        (["--runtag", "two words"], 2, "tag (--runtag) 'two words': expected 1 to 20"),
        (["--collection", "absent.jsonl"], 2, "absent.jsonl: no such file"),
    ],
)
def test_what_a_user_can_cause_is_one_line_and_an_exit_code(job, flags, code, message, capsys, tmp_path):
    before = sorted(tmp_path.iterdir())
    assert main([*job, *flags]) == code
    out, err = capsys.readouterr()
    assert message in err
    assert (out, err.count("\n")) == ("", 1)
    assert sorted(tmp_path.iterdir()) == before


def test_a_foreign_run_gets_the_complete_command_to_type(job, capsys):
    assert main(["--run", "bm25.trec", "--reranker", "bm25"]) == 2
    wanted = "python -m rrarank.rerank --run bm25.trec --topics TOPICS.tsv --collection COLLECTION.jsonl"
    assert wanted in capsys.readouterr().err


def test_interrupted_job_goes_on_from_its_journal_and_ends_byte_identical(job, tmp_path, monkeypatch, capsys):
    from rrarank.rerankers.cross_encoder import CrossEncoder

    main([*job, "--output", "whole.trec"])
    finish, done = CrossEncoder._finish, []

    def interrupted_once(self, queries, pairs):
        done.append(len(queries))
        if len(done) == 2:
            raise KeyboardInterrupt
        return finish(self, queries, pairs)

    monkeypatch.setattr(CrossEncoder, "_finish", interrupted_once)
    assert main([*job, "--output", "resumed.trec"]) == 130
    assert not (tmp_path / "resumed.trec").exists()
    assert main([*job, "--output", "resumed.trec"]) == 0
    assert done == [8, 2, 2]  # blocks of 8 queries and of 2; only the interrupted one is asked again
    assert "going on from resumed.trec.journal, which holds 1 finished blocks of 8 queries" in capsys.readouterr().err
    assert (tmp_path / "resumed.trec").read_bytes() == (tmp_path / "whole.trec").read_bytes()
    assert not list(tmp_path.glob("*.journal"))


def test_a_budget_leaves_what_does_not_fit_in_first_stage_order(job, capsys):
    assert main([*job, "--budget-ms", "1e-6"]) == 0
    err = capsys.readouterr().err
    assert "within 1e-06 ms a query: " in err
    assert err.count("at the pace measured") == 1
    assert [hit.docid for hit in read_run("bm25.cross-encoder.trec")["3"]] == ["d1", "d2", "d3", "d4", "d5"]
    sidecar = json.loads(Path("bm25.cross-encoder.trec.json").read_text())
    assert sidecar["config"]["budget_ms"] == 1e-6
    assert sidecar["timings"]["token_s"] > 0


def test_a_budget_that_all_fits_changes_nothing(job):
    main([*job, "--output", "free.trec"])
    main([*job, "--output", "budget.trec", "--budget-ms", "1e6"])
    free, budget = read_run("free.trec"), read_run("budget.trec")
    assert [h.docid for q in free for h in free[q]] == [h.docid for q in budget for h in budget[q]]


def test_a_job_that_goes_on_keeps_its_pace(job, monkeypatch):
    from rrarank.storage.journal import Journal

    job = [*job, "--budget-ms", "1e6", "--output", "out.trec"]
    monkeypatch.setattr(Journal, "remove_used", Journal.close)  # as if it had been stopped right before the end
    assert main(job) == 0
    monkeypatch.setattr("rrarank.rerank.job.pace_of", lambda *args, **kwargs: pytest.fail("measured again"))
    assert main([*job, "--overwrite"]) == 0


@pytest.fixture
def cascade(job):
    return [*job, "--reranker", "cascade", "--option", "first=bm25", "--output", "out.trec"]


def test_a_budget_that_all_fits_leaves_a_cascade_nothing_to_cut(job, cascade):
    main([*job, "--output", "alone.trec"])
    main([*cascade, "--budget-ms", "1e6"])
    alone, found = read_run("alone.trec"), read_run("out.trec")
    assert [h.docid for q in alone for h in alone[q]] == [h.docid for q in found for h in found[q]]
    sidecar = json.loads(Path("out.trec.json").read_text())
    assert sidecar["config"]["budget_ms"] == 1e6
    assert sidecar["timings"].keys() >= {"start_s", "token_s", "character_s"}


def test_a_cascade_that_goes_on_keeps_its_pace_and_its_cut(cascade, monkeypatch):
    from rrarank.engine.budget import Pace
    from rrarank.storage.journal import Journal

    job = [*cascade, "--budget-ms", "50"]
    monkeypatch.setattr("rrarank.rerank.job.pace_of", lambda *args, **kwargs: Pace(0.0, 0.003, 0.0001))
    monkeypatch.setattr(Journal, "remove_used", Journal.close)  # as if it had been stopped right before the end
    assert main(job) == 0
    whole = Path("out.trec").read_bytes()
    monkeypatch.setattr("rrarank.rerank.job.pace_of", lambda *args, **kwargs: pytest.fail("measured again"))
    assert main([*job, "--overwrite"]) == 0
    assert Path("out.trec").read_bytes() == whole


@pytest.mark.parametrize("value", ["-1", "nan", "inf", "soon"])
def test_a_budget_is_a_time(job, value, capsys):
    with pytest.raises(SystemExit):
        main([*job, "--budget-ms", value])
    assert "expected milliseconds from 0" in capsys.readouterr().err


def test_written_order_is_the_order_read(job):
    main(job)
    run = read_run("bm25.cross-encoder.trec")
    lines = [line.split() for line in open("bm25.cross-encoder.trec")]
    for qid in run:
        assert [hit.docid for hit in best_first(run[qid])] == [line[2] for line in lines if line[0] == qid]


def test_an_ir_datasets_id_in_place_of_files(job, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("IR_DATASETS_HOME", str(tmp_path / "ird"))
    import ir_datasets

    rows = (json.loads(line) for line in TEXTS.splitlines())
    (tmp_path / "texts.tsv").write_text("".join(f"{row['id']}\t{row['contents']}\n" for row in rows))
    dataset = ir_datasets.create_dataset(docs_tsv="texts.tsv", queries_tsv="topics.tsv")
    ir_datasets.registry.register("rrarank-test/rerank", dataset)
    main([*job, "--output", "files.trec"])
    reranker = job[job.index("--reranker") :]
    assert main(["--run", "bm25.trec", "--dataset", "rrarank-test/rerank", *reranker, "--output", "ird.trec"]) == 0
    assert (tmp_path / "ird.trec").read_bytes() == (tmp_path / "files.trec").read_bytes()


def test_requests_file_brings_its_own_queries_and_texts(job, tmp_path):
    rows = [json.loads(line) for line in TEXTS.splitlines()]
    candidates = [
        {"docid": row["id"], "score": 10 - n, "doc": {"contents": row["contents"]}} for n, row in enumerate(rows)
    ]
    request = {"query": {"qid": 1, "text": "why cats and dogs 1"}, "candidates": candidates}
    (tmp_path / "requests.jsonl").write_text(json.dumps(request))
    main([*job, "--output", "files.trec"])
    assert main([*job, "--run", "requests.jsonl", "--output", "requests.trec"]) == 0
    assert dict(read_run("requests.trec")["1"]) == pytest.approx(dict(read_run("files.trec")["1"]), abs=1e-5)


@pytest.mark.parametrize("verb", ["rerank", "retrieve", "evaluate"])
def test_help_loads_nothing_heavy(verb):
    code = "import runpy, sys\nsys.argv[1:] = ['--help']\n"
    code += f"try: runpy.run_module('rrarank.{verb}', run_name='__main__')\nexcept SystemExit: pass\n"
    code += "print([m for m in ('torch', 'transformers', 'ranx', 'jnius', 'faiss', 'numpy') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"


def test_an_empty_text_counts_as_none_and_ranks_below_those_that_have_one(job, tmp_path, capsys):
    rows = [json.loads(line) for line in TEXTS.splitlines()]
    rows[0]["contents"], rows[1]["contents"] = "", " \n"
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main([*job, "--output", "out.trec"]) == 0
    err = capsys.readouterr().err
    assert "10 queries, 30 pairs" in err
    assert "2 without text" in err
    assert {tuple(hit.docid for hit in hits[-2:]) for hits in read_run("out.trec").values()} == {("d1", "d2")}


@pytest.fixture
def quora(job, tmp_path):
    """Two of the queries find themselves among the documents."""
    (tmp_path / "bm25.trec").write_text(RUN.replace("3 Q0 d1 ", "3 Q0 3 ").replace("7 Q0 d5 ", "7 Q0 7 "))
    with open(tmp_path / "texts.jsonl", "a") as file:
        file.writelines(json.dumps({"id": str(qid), "contents": f"why cats and dogs {qid}"}) + "\n" for qid in (3, 7))
    return job


def test_queries_among_the_documents_are_named_and_removed_where_asked(quora, capsys):
    assert main([*quora, "--output", "with.trec"]) == 0
    assert "2 queries find a document of their own id ('3', '7')" in capsys.readouterr().err
    assert main([*quora, "--remove-query", "--output", "without.trec"]) == 0
    err = capsys.readouterr().err
    assert "--remove-query" not in err
    assert "48 pairs" in err
    one, two = read_run("with.trec"), read_run("without.trec")
    assert {qid: [hit for hit in one[qid] if hit.docid != qid] for qid in one} == {qid: list(two[qid]) for qid in two}
    assert json.loads(Path("without.trec.json").read_text())["config"]["remove_query"] is True
    assert "remove_query" not in json.loads(Path("with.trec.json").read_text())["config"]


def test_the_packaged_sample_is_announced(job, tmp_path, capsys):
    (tmp_path / "bm25.trec").unlink()
    assert main(["--run", "bm25.trec", "--reranker", "bm25", "--output", "out.trec"]) == 0
    assert capsys.readouterr().err.startswith(
        "bm25.trec: not in ./ or ./runs/; using the sample that ships with rrarank\n"
    )


def test_names_that_are_not_utf8_do_not_lose_the_work(job, tmp_path):
    run, output = (os.fsdecode(name) for name in (b"b\xe9.trec", b"o\xe9.trec"))
    os.rename("bm25.trec", run)
    command = [sys.executable, "-m", "rrarank.rerank", *job, "--run", run, "--reranker", "bm25", "--output", output]
    environment = os.environ | {"PYTHONIOENCODING": "utf-8"}  # strict, as in most locales
    done = subprocess.run(command, check=False, capture_output=True, env=environment)
    assert (done.returncode, done.stderr.count(b"Traceback")) == (0, 0)
    assert read_run(output).keys() == read_run(run).keys()
    assert Path(f"{output}.json").is_file()


def test_a_full_temporary_folder_is_one_line(job, tmp_path):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    with open("texts.jsonl", "w") as file:
        file.writelines(json.dumps({"id": f"d{n}", "contents": "tea " * 2_000_000}) + "\n" for n in range(1, 6))
    command = [sys.executable, "-m", "rrarank.rerank", *job, "--reranker", "bm25"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, preexec_fn=limit)
    assert done.returncode == 2
    assert "error: temporary folder: texts cannot be kept there" in done.stderr
    assert "set SQLITE_TMPDIR to a folder that has room" in done.stderr
