"""Who is compared: ways to score (query, passage) pairs with the same cross-encoder folder.

Each is given rankings and returns raw scores, so that one clock and one check of agreement fit all of them.
"""

from __future__ import annotations

import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rrarank.data.types import Hit, Ranking, Run
from rrarank.errors import RrarankError

if TYPE_CHECKING:
    from rrarank.engine.blocks import RerankConfig
    from rrarank.engine.budget import Pace
    from rrarank.engine.reranker import Reranker
    from rrarank.rerankers.cross_encoder import CrossEncoder

Scores = list[list[float]]
"""One list a ranking, one score a candidate, in the order given."""

OURS = re.compile(r"rrarank-(torch|onnx|openvino)-(fp32|bf16|fp16|int8)")
NAMES = (
    "rrarank-torch-fp32",
    "rrarank-torch-bf16",
    "rrarank-onnx-int8",
    "rrarank-openvino-bf16",
    "rrarank-openvino-int8",
    "predict-best",
    "predict-default",
    "rerankers",
    "flashrank",
    "transformers",
)


@dataclass(frozen=True)
class Setting:
    """What is the same for all sides.

    Args:
        dtype: of the others' weights; ours has its precision in its name.
    """

    model: Path
    max_length: int = 512
    threads: int = 0
    device: str = "cpu"
    dtype: str = "float32"


class Side(ABC):
    """One way to score; its making imports and loads all that it needs."""

    @abstractmethod
    def score(self, rankings: Sequence[Ranking]) -> Scores:
        """From texts to raw scores."""

    def forget(self) -> None:
        """Drop what was remembered of earlier calls, so that every round does the whole work."""
        return  # most remember nothing


def load_side(name: str, setting: Setting) -> Side:
    """The side of that name.

    Raises:
        RrarankError: this installation or the model's folder does not offer it.
    """
    try:
        if ours := OURS.fullmatch(name):
            return load_ours(setting, *ours.groups())
        return _OTHERS[name](setting)
    except (ImportError, FileNotFoundError) as error:
        raise RrarankError(f"{name}: {error}") from error


# -- ours -------------------------------------------------------------------------------------------------------------


class Ours(Side):
    """`rerank_queries`, as `python -m rrarank.rerank` calls it, but for journal and files.

    Args:
        cross_encoder: the reranker itself, or the one that it asks.
    """

    def __init__(self, reranker: Reranker, cross_encoder: CrossEncoder) -> None:
        self.reranker, self._cross_encoder = reranker, cross_encoder
        self.forward = Stopwatch(cross_encoder.backend)
        cross_encoder.backend = self.forward

    def score(self, rankings: Sequence[Ranking]) -> Scores:
        return self.within(rankings)

    def within(self, rankings: Sequence[Ranking], budget_ms: float = 0.0, pace: Pace | None = None) -> Scores:
        """With a budget, what is not scored gets scores below all others, in first-stage order."""
        from rrarank.engine.blocks import rerank_queries

        job = Job.of(rankings)
        config = replace(job.config, budget_ms=budget_ms)
        ranked = dict(
            rerank_queries(job.run, self.reranker, topics=job.topics, texts=job.texts, config=config, pace=pace)
        )
        scores = {qid: {hit.docid: hit.score for hit in hits} for qid, hits in ranked.items()}
        return [[scores[r.query.qid][c.docid] for c in r.candidates] for r in rankings]

    def forget(self) -> None:
        from rrarank.rerankers.pairs import PairEncoder

        known = self._cross_encoder.encode_pairs
        assert isinstance(known, PairEncoder)  # models with a prompt are no sides
        self._cross_encoder.encode_pairs = PairEncoder(known._tokenizer, known._max_length, known._template)
        self.forward.seconds = 0.0
        getattr(getattr(self.reranker, "first", None), "_known", {}).clear()  # a sparse encoder's queries


@dataclass(frozen=True)
class Job:
    """Rankings as the engine takes them."""

    run: Run
    topics: dict[str, str]
    texts: dict[str, str]
    config: RerankConfig

    @classmethod
    def of(cls, rankings: Sequence[Ranking]) -> Job:
        from rrarank.engine.blocks import RerankConfig

        depth = max(len(ranking.candidates) for ranking in rankings)
        return cls(
            Run({r.query.qid: [Hit(c.docid, c.score) for c in r.candidates] for r in rankings}),
            {r.query.qid: r.query.text for r in rankings},
            {c.docid: c.text for r in rankings for c in r.candidates},
            RerankConfig(depth=depth, hits=depth),
        )


def load_ours(setting: Setting, backend: str, precision: str) -> Ours:
    from rrarank.rerankers.cross_encoder import CrossEncoder

    cross_encoder = CrossEncoder(CrossEncoder.Config(**_config(setting, backend, precision)))
    return Ours(cross_encoder, cross_encoder)


def load_cascade(setting: Setting, backend: str, precision: str, first: str, keep: int = 0) -> Ours:
    """`first` orders all candidates, the cross-encoder the best `keep` of them; 0: as many as a budget allows."""
    from rrarank.rerankers.cascade import Cascade

    cascade = Cascade(Cascade.Config(**_config(setting, backend, precision), first=first, keep=keep))
    return Ours(cascade, cascade.second)


def _config(setting: Setting, backend: str, precision: str) -> dict[str, Any]:
    return {
        "model": str(setting.model),
        "device": setting.device,
        "threads": setting.threads,
        "max_length": setting.max_length,
        "backend": backend,
        "precision": precision,
    }


class Stopwatch:
    """A back end that adds up the seconds of its forward passes."""

    def __init__(self, backend: Any) -> None:
        self.backend, self.seconds = backend, 0.0

    @property
    def identity(self) -> str:
        return str(self.backend.identity)

    def logits(self, batch: Any) -> np.ndarray:
        started = time.perf_counter()
        found: np.ndarray = self.backend.logits(batch)
        self.seconds += time.perf_counter() - started
        return found


# -- others -----------------------------------------------------------------------------------------------------------


class Predict(Side):
    """sentence-transformers: `CrossEncoder.predict` on all pairs at once, which it sorts by length."""

    def __init__(self, setting: Setting) -> None:
        import torch
        from sentence_transformers import CrossEncoder

        self.batch_size = 32  # its default
        self.model = CrossEncoder(
            str(setting.model),
            max_length=setting.max_length,
            device=setting.device,
            model_kwargs={"dtype": getattr(torch, setting.dtype)},
        )

    def score(self, rankings: Sequence[Ranking]) -> Scores:
        import torch

        raw = torch.nn.Identity()
        logits = self.model.predict(
            _pairs(rankings), batch_size=self.batch_size, activation_fn=raw, show_progress_bar=False
        )
        return _by_ranking(_single(logits), rankings)

    def tune(self, rankings: Sequence[Ranking], sizes: Sequence[int], rounds: int = 2) -> dict[int, float]:
        """Take the fastest batch size from now on; returns the least seconds of each."""
        found = dict.fromkeys(sizes, float("inf"))
        for self.batch_size in [*sizes] * rounds:
            found[self.batch_size] = min(found[self.batch_size], seconds(lambda: self.score(rankings)))
        self.batch_size = min(found, key=found.__getitem__)
        return found


class Rerankers(Side):
    """The `rerankers` library, a query at a time, as its documentation has it; batches of 16, its default."""

    def __init__(self, setting: Setting) -> None:
        import rerankers
        import torch

        self.ranker: Any = rerankers.Reranker(
            str(setting.model),
            model_type="cross-encoder",
            device=setting.device,
            dtype=getattr(torch, setting.dtype),
            verbose=0,
            tokenizer_kwargs={"model_max_length": setting.max_length},
        )

    def score(self, rankings: Sequence[Ranking]) -> Scores:
        return [self._score(ranking) for ranking in rankings]

    def _score(self, ranking: Ranking) -> list[float]:
        texts = [candidate.text for candidate in ranking.candidates]
        found = self.ranker.rank(ranking.query.text, docs=texts, doc_ids=list(range(len(texts))))
        scores = {result.doc_id: float(result.score) for result in found.results}
        return [scores[place] for place in range(len(texts))]


class FlashRank(Side):
    """What FlashRank does: ONNX Runtime on an int8 model, all candidates of a query as one padded batch."""

    def __init__(self, setting: Setting) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        path = setting.model / "onnx" / "model_int8.onnx"
        if not path.is_file():
            raise FileNotFoundError(f"no {path.relative_to(setting.model)} in the model's folder")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = setting.threads
        self.session: Any = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.tokenizer: Any = Tokenizer.from_file(str(setting.model / "tokenizer.json"))
        self.tokenizer.enable_truncation(max_length=setting.max_length)
        self.tokenizer.enable_padding()

    def score(self, rankings: Sequence[Ranking]) -> Scores:
        return [self._score(_pairs([ranking])) for ranking in rankings]

    def _score(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        rows = self.tokenizer.encode_batch(pairs)
        values = {
            "input_ids": [row.ids for row in rows],
            "attention_mask": [row.attention_mask for row in rows],
            "token_type_ids": [row.type_ids for row in rows],
        }
        wanted = [given.name for given in self.session.get_inputs()]
        logits = self.session.run(None, {name: np.array(values[name], dtype=np.int64) for name in wanted})[0]
        return _single(logits)


class Transformers(Side):
    """Plain transformers, as a script would do it: batches of 32 in first-stage order, padded."""

    batch_size = 32

    def __init__(self, setting: Setting) -> None:
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        self.setting = setting
        self.tokenizer: Any = AutoTokenizer.from_pretrained(setting.model)
        self.model: Any = (
            AutoModelForSequenceClassification.from_pretrained(setting.model, dtype=getattr(torch, setting.dtype))
            .to(setting.device)
            .eval()
        )

    def score(self, rankings: Sequence[Ranking]) -> Scores:
        import torch

        with torch.inference_mode():
            batches = _groups(_pairs(rankings), self.batch_size)
            return _by_ranking([score for batch in batches for score in self._score(batch)], rankings)

    def _score(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        queries, texts = zip(*pairs, strict=True)
        inputs = self.tokenizer(
            list(queries),
            list(texts),
            padding=True,
            truncation="longest_first",
            max_length=self.setting.max_length,
            return_tensors="pt",
        ).to(self.setting.device)
        return _single(self.model(**inputs).logits.float().cpu().numpy())


class OneByOne(Transformers):
    """The same without batches: the scores that all others are compared with."""

    batch_size = 1


_OTHERS: dict[str, Callable[[Setting], Side]] = {
    "predict-best": Predict,
    "predict-default": Predict,
    "rerankers": Rerankers,
    "flashrank": FlashRank,
    "transformers": Transformers,
    "one-by-one": OneByOne,
}


def _pairs(rankings: Sequence[Ranking]) -> list[tuple[str, str]]:
    return [(ranking.query.text, candidate.text) for ranking in rankings for candidate in ranking.candidates]


def _groups(pairs: Sequence[tuple[str, str]], size: int) -> Iterator[Sequence[tuple[str, str]]]:
    return (pairs[start : start + size] for start in range(0, len(pairs), size))


def _single(logits: np.ndarray) -> list[float]:
    """(pairs,), (pairs, 1) or (pairs, 2) logits as one score a pair."""
    columns = logits.reshape(len(logits), -1)
    return [float(score) for score in (columns[:, 0] if columns.shape[1] == 1 else columns[:, 1] - columns[:, 0])]


def _by_ranking(scores: Sequence[float], rankings: Sequence[Ranking]) -> Scores:
    left = iter(scores)
    return [list(islice(left, len(ranking.candidates))) for ranking in rankings]


def token_counts(rankings: Sequence[Ranking], model: Path, max_length: int) -> dict[str, list[int]]:
    """Tokens of every pair, and of the different ones."""
    from transformers import AutoTokenizer

    pairs = _pairs(rankings)
    queries, texts = zip(*pairs, strict=True)
    tokenizer: Any = AutoTokenizer.from_pretrained(model)
    rows = tokenizer(list(queries), list(texts), truncation="longest_first", max_length=max_length)["input_ids"]
    lengths = [len(ids) for ids in rows]
    return {"every": lengths, "different": list(dict(zip(pairs, lengths, strict=True)).values())}


def seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
