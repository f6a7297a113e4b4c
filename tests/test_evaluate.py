import json
import os
import re
import subprocess
import sys

import pytest

from rrarank import evaluate_runs, parse_qrels, parse_run
from rrarank.errors import RrarankError
from rrarank.evaluate import EvaluateJob, evaluate_job, main

QRELS = "1 0 a 3\n1 0 b 1\n2 0 c 2\n3 0 d 1\n"
BM25 = "1 Q0 b 1 3 x\n1 Q0 a 2 2 x\n2 Q0 z 1 2 x\n2 Q0 c 2 1 x\n3 Q0 d 1 1 x\n"
BETTER = "1 Q0 a 1 3 x\n1 Q0 b 2 2 x\n2 Q0 c 1 2 x\n2 Q0 z 2 1 x\n"


@pytest.fixture
def job(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in {"q.txt": QRELS, "bm25.trec": BM25, "better.trec": BETTER}.items():
        (tmp_path / name).write_text(text)
    return ["--qrels", "q.txt", "--runs", "bm25.trec", "better.trec"]


def test_table_names_systems_floor_and_baseline(job, capsys):
    assert main([*job, "--measures", "mrr", "recall@1"]) == 0
    out, err = capsys.readouterr()
    rows = [line.split() for line in out.partition("minus")[0].splitlines()]
    assert ["bm25", "0.8333", "0.5000", "83%"] in rows
    assert ["better", "0.6667", "0.5000", "50%"] in rows
    assert "random order" in out
    assert "minus bm25" in out
    assert "better: no hits for 1 judged queries, counted as 0 ('3')" in err


def test_json_holds_every_query(job, tmp_path):
    assert main([*job, "--baseline", "better.trec", "--output", "out.json"]) == 0
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["baseline"] == "better"
    assert found["rows"][1]["per_query"]["RR(rel=1)"] == {"1": 1.0, "2": 1.0, "3": 0.0}


def test_the_suffix_says_how_it_is_written(job, tmp_path, capsys):
    assert (
        main([*job, "--tukey", "--output", "o.md", "o.tex", "o.html", "o.csv", "o.long.csv", "o.png", "o.svg", "-"])
        == 0
    )
    assert (tmp_path / "o.md").read_text().startswith("| system")
    assert (tmp_path / "o.tex").read_text().count("\\begin{tabular}") == 3
    assert (tmp_path / "o.csv").read_text().splitlines()[:2] == [
        "qid,measure,bm25,better",
        "1,nDCG@5,0.7967075809905066,1.0",
    ]
    assert (tmp_path / "o.long.csv").read_text().splitlines()[:3] == [
        "qid,measure,system,value",
        "1,nDCG@5,bm25,0.7967075809905066",
        "1,nDCG@5,better,1.0",
    ]
    assert (tmp_path / "o.html").read_text().count("<table>") == 3
    assert (tmp_path / "o.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "o.svg").read_text()
    assert "Tukey's HSD" in capsys.readouterr().out


def test_a_terminal_gets_rich_tables_and_a_pipe_plain_ones(job, capsys, monkeypatch):
    flags = [*job, "--measures", "mrr"]
    main(flags)
    piped = capsys.readouterr().out
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    main(flags)
    shown = re.sub(r"\x1b\[\d+m", "", capsys.readouterr().out)
    assert piped.splitlines()[1].startswith("------------")
    assert "────" in shown
    words = [word for line in piped.splitlines() for word in line.split() if "--" not in word]
    assert [word for line in shown.splitlines() for word in line.split() if "─" not in word] == words


def test_json_knows_no_nan(job, tmp_path):
    main([*job, "--measures", "bpref", "--output", "o.json"])

    def refuse(constant):
        raise AssertionError(constant)

    found = json.loads((tmp_path / "o.json").read_text(), parse_constant=refuse)
    assert found["floor"] == {"Bpref(rel=1)": None}


def test_latex_escapes_names(job, tmp_path):
    (tmp_path / "a_b&c.trec").write_text(BETTER)
    main([*job[:3], "bm25.trec", "a_b&c.trec", "--output", "o.tex"])
    assert r"a\_b\&c" in (tmp_path / "o.tex").read_text()


def test_relevance_level_is_said_in_the_measures_name(job, capsys):
    main([*job, "--rel-level", "2", "--measures", "mrr", "ndcg@10"])
    assert capsys.readouterr().out.splitlines()[0].split() == ["system", "RR(rel=2)", "nDCG@10", "judged@10"]


def test_the_header_says_the_level_that_was_taken_and_a_line_what_else_there_is(job, capsys):
    main([*job, "--measures", "mrr", "P@5", "ndcg@10", "RR(rel=2)"])
    out, err = capsys.readouterr()
    assert out.splitlines()[0].split() == ["system", "RR(rel=1)", "P(rel=1)@5", "nDCG@10", "RR(rel=2)", "judged@10"]
    assert "RR(rel=1), P(rel=1)@5: grades of 1 and more count as relevant, and the judgments go up to 3" in err
    assert "--rel-level 2" in err
    main([*job, "--measures", "mrr", "--rel-level", "1"])
    assert "count as relevant" not in capsys.readouterr().err


def test_a_row_whose_teacher_wrote_the_judgments_is_marked(job, capsys):
    from pathlib import Path

    from rrarank.storage.sidecar import write_sidecar

    for name in ("q.txt", "better.trec"):
        write_sidecar(Path(name), inputs={}, teacher="some-llm")
    main(job)
    out = capsys.readouterr().out
    assert "better †" in out
    assert "bm25 †" not in out
    assert "†: its teacher wrote the judgments." in out


def test_no_figure_depends_on_the_threads(shared_data, tmp_path):
    runs = [str(shared_data / f"dl19/runs/{name}.trec") for name in ("bm25", "bm25-rm3", "tasb")]
    for threads in ("1", "2"):
        output = str(tmp_path / f"{threads}.json")
        flags = ["--threads", threads, "--tukey", "--measures", "ndcg@10", "map", "--output", output]
        assert main(["--qrels", str(shared_data / "dl19/qrels.txt"), "--runs", *runs, *flags]) == 0
    assert (tmp_path / "1.json").read_bytes() == (tmp_path / "2.json").read_bytes()
    assert b'"fisher"' in (tmp_path / "1.json").read_bytes()


def test_unanswered_queries_are_left_out_of_the_intersection(job, capsys):
    main([*job, "--intersection", "--measures", "mrr"])
    out, err = capsys.readouterr()
    assert "2 queries." in out
    assert "left out ('3')" in err


def test_what_is_judged_is_not_plotted(job, capsys):
    assert main([*job, "--measures", "Judged@5", "--output", "o.png"]) == 2
    assert "a plot of differences needs a measure other than Judged" in capsys.readouterr().err
    assert main([*job, "--measures", "Judged@5", "nDCG@5", "--output", "o.png", "o.tex", "o.json"]) == 0


def test_one_system_has_nothing_to_be_compared_with(job, capsys):
    assert main([*job[:3], "bm25.trec", "--output", "o.png"]) == 2
    assert "needs a second run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--measures", "nope@3", "mpa"],
            "(--measures): not understood: 'nope@3', 'mpa' (did you mean 'AP'?)",
        ),
        (
            ["--output", "t.xlsx"],
            "t.xlsx: unknown suffix '.xlsx' (known: .txt .md .tex .html .json .csv .long.csv .png .svg .pdf)",
        ),
        (
            ["--output", "o.md", "x"],
            "x: no suffix, which chooses the format (known: .txt .md .tex .html .json .csv .long.csv .png .svg .pdf)",
        ),
        (["--output", ".csv"], ".csv: no suffix, which chooses the format"),
        (["--output", "t.MD"], "t.MD: unknown suffix '.MD' (known: .txt .md"),
        (["--baseline", "absent"], "no run named 'absent' to compare with (runs: bm25, better)"),
        (["--runs", "bm25.trec", "./bm25.trec"], "a second run named 'bm25'"),
        (["--runs", "q.txt"], "q.txt:1: 4 columns, expected 6 (qid Q0 docid rank score tag); this looks like a qrels"),
        (["--qrels", "bm25.trec"], "bm25.trec:1: 6 columns, expected 4 (qid 0 docid grade); this looks like a run"),
    ],
)
def test_what_a_user_can_cause_is_one_line(job, flags, message, capsys):
    assert main([*job, *flags]) == 2
    out, err = capsys.readouterr()
    assert message in err
    assert (out, err.count("\n")) == ("", 1)


def test_a_job_from_python_does_what_the_command_does(job, tmp_path, capsys):
    wanted = EvaluateJob("q.txt", ["bm25.trec", "better.trec"], measures=["mrr"], output=["o.csv"])
    found = evaluate_job(wanted)
    assert [row.means["mrr"] for row in found.rows] == pytest.approx([5 / 6, 2 / 3])
    assert (tmp_path / "o.csv").read_text().startswith("qid,measure,bm25,better\n1,RR(rel=1),")
    assert capsys.readouterr().out == ""
    with pytest.raises(RrarankError, match="o.csv: exists already"):
        evaluate_job(wanted)


def test_a_place_that_keeps_no_file_needs_no_suffix(job):
    os.mkfifo("pipe")
    reader = os.open("pipe", os.O_RDONLY | os.O_NONBLOCK)
    assert main([*job, "--measures", "mrr", "--output", os.devnull, "pipe"]) == 0
    assert b"RR(rel=1)" in os.read(reader, 10_000)
    os.close(reader)


OWN = "1 Q0 1 1 9 x\n" + BM25  # query 1 finds itself, above all others


def test_queries_among_the_documents_are_named_and_removed_where_asked(job, tmp_path, capsys):
    (tmp_path / "bm25.trec").write_text(OWN)
    command = [*job, "--measures", "mrr", "recall@1"]
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert ["bm25", "0.6667", "0.3333", "72%"] in [line.split() for line in out.splitlines()]
    assert "bm25: 1 queries find a document of their own id ('1')" in err
    assert main([*command, "--remove-query"]) == 0
    out, err = capsys.readouterr()
    assert ["bm25", "0.8333", "0.5000", "83%"] in [line.split() for line in out.splitlines()]
    assert "--remove-query" not in err


def test_from_python_own_documents_leave_the_runs():
    qrels, measures = parse_qrels(QRELS.splitlines()), ["mrr", "map"]
    kept = evaluate_runs(qrels, {"bm25": parse_run(OWN.splitlines())}, measures=measures, remove_query=True)
    alone = evaluate_runs(qrels, {"bm25": parse_run(BM25.splitlines())}, measures=measures)
    assert kept.rows[0].means == alone.rows[0].means
    assert kept.floor == alone.floor


def test_a_name_that_is_not_utf8_is_written_as_the_file_has_it(job, tmp_path):
    name = b"f\xff"
    (tmp_path / os.fsdecode(name + b".trec")).write_text(BM25)
    command = [sys.executable, "-m", "rrarank.evaluate", "--qrels", "q.txt", "--measures", "map", "--runs"]
    command += [os.fsdecode(name + b".trec"), "--output", "-", "out.txt"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True)
    assert (done.returncode, done.stderr.count(b"Traceback")) == (0, 0)
    assert b"\n" + name in done.stdout
    assert (tmp_path / "out.txt").read_bytes() == done.stdout
