"""Both scores of a trained graph {base, term_control}, as they are before the layer beside the encoder is dropped."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate.utils import send_to_device

from rrarank.data.types import Ranking
from rrarank.errors import RrarankError
from rrarank.train.config import TrainConfig
from rrarank.train.lists import Collator, TrainingList
from rrarank.train.student import Student
from rrarank.train.trainer import train_stages


@dataclass(frozen=True)
class GraphScores:
    """One of each a candidate, in candidate order.

    Args:
        base: s_base, which the saved model gives too.
        term: s_TCL; empty for a student without a term control.
    """

    base: tuple[float, ...]
    term: tuple[float, ...] = ()


@dataclass(frozen=True)
class Graph:
    """A trained student that scores rankings: nothing is dropped out, nothing learned.

    Args:
        collator: says how pairs are cut and padded.
        seed: of Token Selection's rule `random`, together with the qid.
    """

    student: Student
    collator: Collator
    seed: int = 42

    @torch.inference_mode()
    def score(self, ranking: Ranking) -> GraphScores:
        """The candidates are one list: Token Selection's bound is taken over all of them."""
        texts = tuple(candidate.text for candidate in ranking.candidates)
        if not texts:
            return GraphScores(())
        alike = TrainingList(ranking.query.text, texts, (0.0,) * len(texts))  # levels, of which no score depends
        batch = send_to_device(self.collator([alike]), next(self.student.parameters()).device)
        draws = random.Random(f"{self.seed} {ranking.query.qid}")
        with torch.random.fork_rng(devices=[]):  # of the CPU, on which the rule `random` draws
            torch.manual_seed(draws.getrandbits(32))
            found = self.student.eval()(**batch)
        term = found["term_scores"].tolist() if "term_scores" in found else ()
        return GraphScores(tuple(found["scores"].tolist()), tuple(term))


def load_graph(config: TrainConfig, work: Path, *, max_length: int = 0, threads: int = 0) -> Graph:
    """The graph that `train_stages` left in its folder of checkpoints.

    Args:
        max_length: most tokens of a pair; 0 for as many as training saw.
        threads: of the CPU; 0 for the library's default.

    Raises:
        RrarankError: the training is not finished, or is another one than `config` says.
    """
    done = work / f"stage-{len(config.stages)}" / "done.safetensors"
    if not done.is_file():
        raise RrarankError(f"{done}: no such file; the training is not finished, finish it first")
    student, tokenizer, _ = train_stages(config, work, threads=threads)  # trains nothing: all stages are done
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return Graph(
        student.to(device).eval(), Collator(tokenizer, max_length or config.max_length, config.chunk), config.seed
    )
