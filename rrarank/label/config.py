"""What a labelling job is told: its run, its teacher, where its set goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from rrarank.cli.llm import FREE
from rrarank.data.frames import kind_of, seen_value
from rrarank.data.shapes import RunLike, is_path
from rrarank.engine.ray import RayConfig
from rrarank.errors import RrarankError
from rrarank.label.ensemble import Ensemble, EnsembleConfig
from rrarank.label.selection import Selection
from rrarank.label.teacher import ScorerConfig
from rrarank.llm.base import LLMConfig
from rrarank.llm.questions import PromptedLLM
from rrarank.sources.inputs import Origins


@dataclass(frozen=True)
class LLMTeacherConfig:
    """An LLM that ranks each list, and perhaps one that gives reasons for the ranking.

    Args:
        llm: the model that ranks.
        prompt: name of a shipped prompt, or a YAML file with rank_llm's keys.
        explainer: the model that gives reasons; None: no reasons.
        explainer_prompt: the same as `prompt`, for the reasons.
        context: maximum number of tokens of question and answer together.
        passage_tokens: maximum number of tokens of a passage.
    """

    llm: LLMConfig
    prompt: str = "relevant-only"
    explainer: LLMConfig | None = None
    explainer_prompt: str = "reasons"
    context: int = PromptedLLM.context
    passage_tokens: int = PromptedLLM.passage_tokens


TeacherConfig: TypeAlias = LLMTeacherConfig | Sequence[str] | ScorerConfig | EnsembleConfig
"""An LLM, the paths of TREC runs, a reranker, or several rerankers."""


@dataclass(frozen=True)
class LabelJob:
    """What `label_run` does.

    Args:
        run: the first stage, as `load_inputs` takes it: a path, or a run of any shape.
        teacher: an LLM, the paths of TREC runs, a reranker, or several rerankers.
        origins: queries and texts; empty: as the run's sidecar says.
        preranker: orders the candidates from which `selection` takes the list.
        output: the set to write, JSONL; empty: `<run>.<teacher>.jsonl`; `-` is stdout.
        limit: only so many queries; 0: all.
        skip_missing: leave out candidates without text and queries without topic instead of refusing the run.
        device, batch_size, threads: for pre-ranker and reranker teacher; empty or 0: their defaults.
        ray: score on workers of Ray; None: in this process.
        price: cost of a million tokens asked and of a million answered.
        dry_run: estimate tokens and cost, print the first prompt and stop.

    Raises:
        RrarankError: the teacher is none of these.
    """

    run: RunLike
    teacher: TeacherConfig
    origins: Origins = field(default_factory=Origins)
    preranker: ScorerConfig = field(default_factory=lambda: ScorerConfig("bi-encoder"))
    selection: Selection = field(default_factory=Selection)
    output: str = ""
    limit: int = 0
    skip_missing: bool = False
    overwrite: bool = False
    device: str = ""
    batch_size: int = 0
    threads: int = 0
    ray: RayConfig | None = None
    price: Sequence[float] = FREE
    dry_run: bool = False

    def __post_init__(self) -> None:
        runs = isinstance(self.teacher, list | tuple) and all(is_path(one) for one in self.teacher)
        if not (runs or isinstance(self.teacher, LLMTeacherConfig | ScorerConfig | EnsembleConfig)):
            seen = f"{seen_value(self.teacher)} is {kind_of(self.teacher)}"
            known = "LLMTeacherConfig(LLMConfig(model)), ScorerConfig(reranker), EnsembleConfig(…)"
            raise RrarankError(f"teacher {seen}, expected {known}, or a list of runs' paths")

    @property
    def teacher_name(self) -> str:
        """`llm`, `runs`, `ensemble`, or the reranker's name."""
        if isinstance(self.teacher, EnsembleConfig):
            return Ensemble.kind
        if isinstance(self.teacher, ScorerConfig):
            return self.teacher.name
        return "llm" if isinstance(self.teacher, LLMTeacherConfig) else "runs"
