"""What other tools train on: their columns, which documents are positive, and what is left out."""

import pytest

from rrarank.data.trec import read_run, write_run
from rrarank.data.types import Candidate, Hit, LabelledRanking, Query
from rrarank.sets.exports import Contrast, flagembedding_rows, run_hits, sentence_transformers_rows, tevatron_rows


def label(listed="", missing="", unknown="", qid="1"):
    shown = tuple(Candidate(docid, f"text {docid}", 0.0) for docid in sorted(listed + missing + unknown))
    return LabelledRanking(Query(qid, "tea"), shown, tuple(listed), tuple(missing), tuple(unknown))


LABEL = label("dab", "fc", "e")


def test_sentence_transformers_labelled_lists():
    assert list(sentence_transformers_rows([LABEL])) == [
        {
            "query": "tea",
            "docs": ["text d", "text a", "text b", "text f", "text c"],
            "labels": [1.0, 2 / 3, 1 / 3, 0.0, 0.0],
        }
    ]


@pytest.mark.parametrize(
    ("contrast", "positive", "negative"),
    [
        (Contrast(), "dab", "fc"),
        (Contrast(positives=1), "d", "fc"),
        (Contrast(positives=1, below=True), "d", "fcab"),
        (Contrast(positives=2, below=True), "da", "fcb"),
        (Contrast(positives=9, below=True), "dab", "fc"),
    ],
)
def test_positives_are_the_first_listed_and_negatives_the_missing(contrast, positive, negative):
    scores = {"d": 3.0, "a": 2.0, "b": 1.0, "f": 0.0, "c": 0.0}
    assert list(flagembedding_rows([LABEL], contrast)) == [
        {
            "query": "tea",
            "pos": [f"text {docid}" for docid in positive],
            "neg": [f"text {docid}" for docid in negative],
            "pos_scores": [scores[docid] for docid in positive],
            "neg_scores": [scores[docid] for docid in negative],
        }
    ]
    assert list(tevatron_rows([LABEL], contrast)) == [
        {
            "query_id": "1",
            "query": "tea",
            "positive_passages": [{"docid": docid, "title": "", "text": f"text {docid}"} for docid in positive],
            "negative_passages": [{"docid": docid, "title": "", "text": f"text {docid}"} for docid in negative],
        }
    ]


@pytest.mark.parametrize("poor", [label(unknown="abc"), label(missing="abc"), label("a", "", "b")])
def test_a_query_without_a_contrast_gives_no_row(poor):
    assert not list(sentence_transformers_rows([poor]))
    assert not list(flagembedding_rows([poor], Contrast(below=True)))
    assert not list(tevatron_rows([poor], Contrast(below=True)))


def test_listed_documents_alone_are_a_list_but_no_contrast_unless_asked():
    [row] = sentence_transformers_rows([label("ba")])
    assert row["labels"] == [1.0, 0.5]
    assert not list(tevatron_rows([label("ba")], Contrast(positives=1)))
    assert len(list(tevatron_rows([label("ba")], Contrast(positives=1, below=True)))) == 1


def test_as_a_run_listed_stand_above_missing_in_prompt_order(tmp_path):
    assert list(run_hits([LABEL])) == [
        ("1", [Hit("d", 5.0), Hit("a", 4.0), Hit("b", 3.0), Hit("c", 2.0), Hit("f", 1.0)])
    ]
    write_run(tmp_path / "run", run_hits([LABEL, label(unknown="ab", qid="2")], unknown=True), "teacher")
    run = read_run(tmp_path / "run")
    assert {qid: "".join(hit.docid for hit in hits) for qid, hits in run.items()} == {"1": "dabcfe", "2": "ab"}


def test_sentence_transformers_learns_from_its_rows(make_cross_encoder):
    import torch
    from sentence_transformers.cross_encoder import CrossEncoder, losses

    model = CrossEncoder(str(make_cross_encoder(1)), device="cpu")
    rows = [*sentence_transformers_rows([LABEL, label("ab", "c")])]  # lists of five and of three
    inputs = [[row["query"] for row in rows], [row["docs"] for row in rows]]
    loss = losses.LambdaLoss(model)(inputs, [torch.tensor(row["labels"]) for row in rows])
    loss.backward()
    assert 0 < loss.item() < 100
    assert model.model.classifier.weight.grad.abs().sum() > 0
