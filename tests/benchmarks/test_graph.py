"""A trained graph's two scores: s_base is the saved model's, s_TCL hangs on the whole list and on nothing else."""

from dataclasses import replace

import pytest
import torch

from benchmarks.ablation.graph import Graph, GraphScores, load_graph
from rrarank import RrarankError
from rrarank.data.distillation_set import write_set
from rrarank.data.types import Candidate, LabelledRanking, Query, Ranking
from rrarank.engine.reranker import reorder
from rrarank.rerankers.backends.base import CrossEncoderConfig
from rrarank.rerankers.backends.torch import load_whole
from rrarank.rerankers.cross_encoder import CrossEncoder
from rrarank.train.config import StageConfig, TrainConfig
from rrarank.train.saved_model import save_model
from rrarank.train.term_control import SelectionConfig, TermControlConfig
from rrarank.train.trainer import train_stages

TEXTS = ["the cat sat", "tea and bread", "dogs about", "a long document about cats dogs tea", "mat", "why the dog"]
QUERY = Query("q", "what is a cat")
RANKING = Ranking(QUERY, tuple(Candidate(f"d{i}", text, float(-i)) for i, text in enumerate(TEXTS)))
LONG = Ranking(QUERY, (*RANKING.candidates, Candidate("long", "a document about dogs " * 40, -9.0)))


@pytest.fixture(scope="module")
def config(tmp_path_factory, cross_encoder_folder):
    path = tmp_path_factory.mktemp("sets") / "labels.jsonl"
    labels = [
        LabelledRanking(Query(qid, "what is a cat"), RANKING.candidates, ("d3", "d0", "d5"), ("d1", "d2", "d4"))
        for qid in "abcd"
    ]
    write_set(path, labels)
    stage = StageConfig((str(path),), lists=2, learning_rate=1e-2)
    return TrainConfig(str(cross_encoder_folder), (stage,), TermControlConfig(), max_length=32, chunk=4)


@pytest.fixture(scope="module")
def trained(config, tmp_path_factory):
    """(the folder of the training, the student as the training left it)."""
    work = tmp_path_factory.mktemp("training")
    return work, train_stages(config, work)[0]


@pytest.fixture(scope="module")
def graph(config, trained):
    return load_graph(config, trained[0])


def make_graph(config, work, **selection):
    config = replace(config, term_control=TermControlConfig(selection=SelectionConfig(**selection)))
    train_stages(config, work)
    return load_graph(config, work)


def test_the_graph_is_the_one_that_was_trained(graph, trained, cross_encoder_folder):
    loaded, expected = graph.student.state_dict(), trained[1].state_dict()
    assert loaded.keys() == expected.keys()
    assert any(name.startswith("term_control") for name in loaded)
    assert all(torch.equal(loaded[name].cpu(), expected[name].cpu()) for name in expected)
    untrained = load_whole(cross_encoder_folder, "untrained").state_dict()
    assert not torch.equal(loaded["base.classifier.weight"].cpu(), untrained["classifier.weight"].cpu())


@pytest.mark.parametrize("max_length", [0, 64])
def test_s_base_is_the_score_of_the_saved_model(config, trained, max_length, tmp_path):
    graph = load_graph(config, trained[0], max_length=max_length)
    base = graph.student.base.to(torch.float16).to(torch.float32)  # the rounding of the file
    save_model(base, graph.collator.tokenizer, tmp_path / "saved")
    settings = CrossEncoderConfig(model=str(tmp_path / "saved"), max_length=max_length or config.max_length)
    (expected,) = CrossEncoder(settings).rerank_block([LONG])
    found = {c.docid: c.score for c in reorder(LONG, graph.score(LONG).base).candidates}
    assert found == pytest.approx({c.docid: c.score for c in expected.candidates}, abs=1e-5)
    assert len({round(score, 4) for score in found.values()}) == len(found)  # so that the order matters


def test_s_tcl_is_another_score_of_each_candidate(graph):
    found = graph.score(RANKING)
    assert len(found.base) == len(found.term) == len(TEXTS)
    assert max(abs(base - term) for base, term in zip(found.base, found.term, strict=True)) > 0.01


def test_padding_changes_no_score(graph):
    expected = graph.score(RANKING)
    for chunk in (1, 2, 16):
        found = replace(graph, collator=replace(graph.collator, chunk=chunk)).score(RANKING)
        assert found.base == pytest.approx(expected.base, abs=1e-5)
        assert found.term == pytest.approx(expected.term, abs=1e-5)


def test_the_bound_of_token_selection_is_of_the_whole_list_and_s_base_knows_no_list(graph):
    whole = graph.score(RANKING)
    alone = [graph.score(replace(RANKING, candidates=(candidate,))) for candidate in RANKING.candidates]
    assert whole.base == pytest.approx([score for found in alone for score in found.base], abs=1e-5)
    assert whole.term != pytest.approx([score for found in alone for score in found.term], abs=1e-5)


def test_nothing_is_dropped_out_though_the_student_was_left_in_training(graph, trained):
    student = trained[1].train().cpu()
    expected, found = graph.score(RANKING), Graph(student, graph.collator).score(RANKING)
    assert found.base == pytest.approx(expected.base, abs=1e-5)
    assert found.term == pytest.approx(expected.term, abs=1e-5)


def test_random_tokens_are_the_same_again_and_others_for_another_seed(config, tmp_path):
    graph = make_graph(config, tmp_path, rule="random")
    state = torch.random.get_rng_state()
    first = graph.score(RANKING)
    assert torch.equal(state, torch.random.get_rng_state())  # nobody else's draws change
    torch.rand(1)
    assert graph.score(RANKING) == first
    assert replace(graph, seed=7).score(RANKING).term != first.term


def test_without_a_term_control_there_is_s_base_alone(config, tmp_path):
    config = replace(config, term_control=None)
    train_stages(config, tmp_path)
    found = load_graph(config, tmp_path).score(RANKING)
    assert len(found.base) == len(TEXTS)
    assert found.term == ()


def test_a_ranking_without_candidates_has_no_scores(graph):
    assert graph.score(Ranking(QUERY, ())) == GraphScores(())


def test_an_unfinished_training_is_one_line(config, tmp_path):
    with pytest.raises(RrarankError, match=r"stage-1/done.safetensors: no such file; the training is not finished"):
        load_graph(config, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_another_training_is_refused(config, trained):
    with pytest.raises(RrarankError, match="checkpoints of another training"):
        load_graph(replace(config, seed=7), trained[0])
