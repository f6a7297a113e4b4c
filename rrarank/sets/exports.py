"""A distillation set as others train on it: sentence-transformers, FlagEmbedding, tevatron; and as a TREC run.

Unknown documents are in no training file: nothing is known of them. Queries that would give a row without a contrast
are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from rrarank.data.distillation_set import levels
from rrarank.data.types import Candidate, Hit, LabelledRanking

Row = Mapping[str, object]


@dataclass(frozen=True)
class Contrast:
    """Which documents are positive and which negative, for tools that know no order.

    Args:
        positives: the first so many listed ones, as in RRA-GPT's relevance classification.
        below: the listed ones after them are negative too; else only the missing are, and what is listed last, which
            may well be relevant, is in no row.
    """

    positives: int = 3
    below: bool = False


def sentence_transformers_rows(labels: Iterable[LabelledRanking]) -> Iterator[Row]:
    """Its labelled lists (`CrossEncoderTrainer`: LambdaLoss, RankNetLoss, ListNetLoss, …): `query, docs, labels`.

    A label is the level over the number of listed: 1 for the best, 0 for the missing, since LambdaLoss takes 2 to the
    power of the label for its gain.
    """
    for label in labels:
        ranked = levels(label)
        if label.listed and len(ranked) > 1:
            texts = _texts(label)
            values = [level / len(label.listed) for level in ranked.values()]
            yield {"query": label.query.text, "docs": [texts[docid].text for docid in ranked], "labels": values}


def flagembedding_rows(labels: Iterable[LabelledRanking], contrast: Contrast = Contrast()) -> Iterator[Row]:
    """Its training rows, `query, pos, neg, pos_scores, neg_scores`; the scores, for its knowledge distillation (a
    softmax over them), are levels: one apart for neighbours, 0 for the missing."""
    for label, positive, negative in _contrasts(labels, contrast):
        level = levels(label)
        yield {
            "query": label.query.text,
            "pos": [candidate.text for candidate in positive],
            "neg": [candidate.text for candidate in negative],
            "pos_scores": [float(level[candidate.docid]) for candidate in positive],
            "neg_scores": [float(level[candidate.docid]) for candidate in negative],
        }


def tevatron_rows(labels: Iterable[LabelledRanking], contrast: Contrast = Contrast()) -> Iterator[Row]:
    """Its training rows, `query_id, query, positive_passages, negative_passages`; titles are empty, texts hold them."""
    for label, positive, negative in _contrasts(labels, contrast):
        yield {
            "query_id": label.query.qid,
            "query": label.query.text,
            "positive_passages": [_passage(candidate) for candidate in positive],
            "negative_passages": [_passage(candidate) for candidate in negative],
        }


def run_hits(labels: Iterable[LabelledRanking], *, unknown: bool = False) -> Iterator[tuple[str, list[Hit]]]:
    """(qid, hits) for `trec.write_run`: listed ones, then missing ones in prompt order, though the teacher tied them.

    Args:
        unknown: let the unknown ones follow, in prompt order, below the missing ones: the teacher did not say so.
    """
    for label in labels:
        docids = [*label.listed, *_in_prompt_order(label, label.missing)]
        docids += _in_prompt_order(label, label.unknown) if unknown else []
        yield label.query.qid, [Hit(docid, float(len(docids) - place)) for place, docid in enumerate(docids)]


def _contrasts(
    labels: Iterable[LabelledRanking], contrast: Contrast
) -> Iterator[tuple[LabelledRanking, list[Candidate], list[Candidate]]]:
    """Each label with its positives, best first, and its negatives, the missing ones first."""
    for label in labels:
        texts = _texts(label)
        below = label.listed[contrast.positives :] if contrast.below else ()
        positive = [texts[docid] for docid in label.listed[: contrast.positives]]
        negative = [texts[docid] for docid in (*label.missing, *below)]
        if positive and negative:
            yield label, positive, negative


def _texts(label: LabelledRanking) -> dict[str, Candidate]:
    return {candidate.docid: candidate for candidate in label.shown}


def _in_prompt_order(label: LabelledRanking, docids: Iterable[str]) -> list[str]:
    wanted = set(docids)
    return [candidate.docid for candidate in label.shown if candidate.docid in wanted]


def _passage(candidate: Candidate) -> Row:
    return {"docid": candidate.docid, "title": "", "text": candidate.text}
