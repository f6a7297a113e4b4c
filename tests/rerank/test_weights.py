"""rerank --interpolate auto: the rule that a model carries, and what happens without one."""

import json
import shutil
from pathlib import Path

import pytest

from rrarank.engine.interpolation_files import FORMAT
from rrarank.rerank.__main__ import main
from rrarank.storage.model_folders import INTERPOLATION, fingerprint

RULE = {"threshold": 0.5, "agreeing": 0.4, "differing": 0.9}


def config_of(path):
    return json.loads(Path(f"{path}.json").read_text())["config"]["interpolation"]


@pytest.fixture
def with_rule(make_job, cross_encoder_folder, tmp_path):
    """Flags of a job whose model carries a rule."""
    flags = make_job(4)
    folder = tmp_path / "model"
    shutil.copytree(cross_encoder_folder, folder)
    (folder / INTERPOLATION).write_text(json.dumps({"format": FORMAT, "rule": RULE}))
    return [*flags[:-1], str(folder)]


def test_the_rule_is_used_and_named_in_a_line_and_in_the_sidecar(with_rule, capsys):
    assert main([*with_rule, "--interpolate", "auto", "--output", "auto.trec"]) == 0
    said = capsys.readouterr().err
    assert "the reranker's weight will be 0.4 if the two rankings agree by 0.5 or more, else 0.9" in said
    found = config_of("auto.trec")
    assert f"weight of the reranker {found['weight']:g}: the two rankings agree by" in said
    assert found["rule"] == RULE | {"lexical": None, "learned": None}
    main([*with_rule, "--interpolate", str(found["weight"]), "--output", "number.trec"])
    assert Path("auto.trec").read_bytes() == Path("number.trec").read_bytes()


def test_a_rule_by_the_kind_of_first_stage(with_rule, capsys):
    """The run of `make_job` has no sidecar, and its tag is that of BM25."""
    rule = RULE | {"lexical": 0.8, "learned": 0.3}
    Path(with_rule[-1], INTERPOLATION).write_text(json.dumps({"format": FORMAT, "rule": rule}))
    run = Path(with_rule[with_rule.index("--run") + 1])
    for tag, weight in {"bm25": 0.8, "splade": 0.3}.items():
        run.write_text("".join(f"{line.rsplit(maxsplit=1)[0]} {tag}\n" for line in run.read_text().splitlines()))
        kind = {"bm25": "lexical", "splade": "learned"}[tag]
        assert main([*with_rule, "--interpolate", "auto", "--output", f"{kind}.trec"]) == 0
        assert f"weight of the reranker {weight:g}: the first stage is {kind}" in capsys.readouterr().err
        found = config_of(f"{kind}.trec")
        assert (found["weight"], found["first_stage"], found["rule"]) == (weight, kind, rule)
        main([*with_rule, "--interpolate", str(weight), "--output", f"{kind}.number.trec"])
        assert Path(f"{kind}.trec").read_bytes() == Path(f"{kind}.number.trec").read_bytes()


def test_a_number_beats_the_rule(with_rule):
    main([*with_rule, "--interpolate", "1", "--output", "one.trec"])
    assert config_of("one.trec") == {"weight": 1.0, "norm": "z-score"}


def test_without_a_rule_auto_says_what_it_takes(make_job, capsys):
    flags = make_job(3)
    assert main([*flags, "--interpolate", "auto", "--output", "auto.trec"]) == 0
    assert "--interpolate auto: this model carries no rule; using 0.5" in capsys.readouterr().err
    assert config_of("auto.trec") == {"weight": 0.5, "norm": "z-score"}
    main([*flags, "--interpolate", "0.5", "--output", "half.trec"])
    assert Path("auto.trec").read_bytes() == Path("half.trec").read_bytes()


def test_a_rule_for_another_norm_is_refused(with_rule, capsys):
    assert main([*with_rule, "--interpolate", "auto", "--norm", "rank", "--output", "auto.trec"]) == 2
    assert "chosen for scores normalised by z-score, not by rank" in capsys.readouterr().err


def test_a_model_with_a_rule_is_still_the_same_model(cross_encoder_folder, with_rule):
    assert fingerprint(Path(with_rule[-1])) == fingerprint(cross_encoder_folder)


def test_a_part_of_a_run_cannot_choose_for_the_whole(with_rule, capsys):
    assert main([*with_rule, "--interpolate", "auto", "--shard", "1/2", "--output", "part.trec"]) == 2
    assert "--shard with --interpolate auto: the parts would not make the whole" in capsys.readouterr().err
