"""Export formats of a distillation set: sentence-transformers, FlagEmbedding, tevatron and TREC runs.

Training files contain no unknown documents and no query without both positive and negative documents.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from rrarank.data.distillation_set import levels
from rrarank.data.types import Candidate, Hit, LabelledRanking

Row = Mapping[str, object]


@dataclass(frozen=True)
class Contrast:
    """Which documents are positive and which negative, for tools that use no order.

    Args:
        positives: so many listed documents, from the first on, are positive, as in RRA-GPT's classification.
        below: the other listed documents are negative, like the missing; False: they are left out, as they may be
            relevant.
    """

    positives: int = 3
    below: bool = False


def sentence_transformers_rows(labels: Iterable[LabelledRanking]) -> Iterator[Row]:
    """Labelled lists for `CrossEncoderTrainer` (LambdaLoss, RankNetLoss, ListNetLoss, …): `query, docs, labels`.

    A label is the level divided by the number of listed documents: 1 for the best, 0 for the missing. LambdaLoss uses
    2 to the power of the label as its gain.
    """
    for label in labels:
        ranked = levels(label)
        if label.listed and len(ranked) > 1:
            texts = _texts(label)
            values = [level / len(label.listed) for level in ranked.values()]
            yield {"query": label.query.text, "docs": [texts[docid].text for docid in ranked], "labels": values}


def flagembedding_rows(labels: Iterable[LabelledRanking], contrast: Contrast = Contrast()) -> Iterator[Row]:
    """Training rows `query, pos, neg, pos_scores, neg_scores`; the scores, for FlagEmbedding's knowledge distillation
    (a softmax over them), are levels: neighbours differ by 1, missing documents have 0."""
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
    """Training rows `query_id, query, positive_passages, negative_passages`; texts contain the titles."""
    for label, positive, negative in _contrasts(labels, contrast):
        yield {
            "query_id": label.query.qid,
            "query": label.query.text,
            "positive_passages": [_passage(candidate) for candidate in positive],
            "negative_passages": [_passage(candidate) for candidate in negative],
        }


def run_hits(labels: Iterable[LabelledRanking], *, unknown: bool = False) -> Iterator[tuple[str, list[Hit]]]:
    """(qid, hits) for `trec.write_run`: the listed documents, then the missing ones, which are tied, in prompt order.

    Args:
        unknown: add the unknown documents at the end, in prompt order; the teacher did not rank them there.
    """
    for label in labels:
        docids = [*label.listed, *_in_prompt_order(label, label.missing)]
        docids += _in_prompt_order(label, label.unknown) if unknown else []
        yield label.query.qid, [Hit(docid, float(len(docids) - place)) for place, docid in enumerate(docids)]


def _contrasts(
    labels: Iterable[LabelledRanking], contrast: Contrast
) -> Iterator[tuple[LabelledRanking, list[Candidate], list[Candidate]]]:
    """Each label with its positives, best first, and its negatives, missing documents first."""
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
