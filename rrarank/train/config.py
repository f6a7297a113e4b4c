"""A training in one YAML file: where the student starts, its stages, and the dev run that says which checkpoint."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from rrarank.data.verdicts import ReasoningConfig
from rrarank.errors import RrarankError, shown
from rrarank.storage.yaml_settings import STRICT, checked, read_yaml, shipped_or_file
from rrarank.train.lists import Treatment
from rrarank.train.lora import LoraConfig
from rrarank.train.losses import LOSSES, LossConfig
from rrarank.train.prompted import PromptConfig
from rrarank.train.term_control import TermControlConfig

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(gt=0)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class StageConfig:
    """One pass of the trainer over some sets.

    Args:
        sets: distillation sets.
        loss: what is learned from them.
        missing: what becomes of what the teacher left out (`lists.training_list`).
        epochs: how often each document is seen; may be a fraction.
        lists: lists a step and device.
        documents: about so many a list; longer labels are cut into several lists.
        accumulate: steps whose gradients are added up.
        learning_rate: 5e-5, as RankGPT's students were trained with.
        warmup: share of the steps in which it rises; then it falls linearly.
        max_queries: only the first so many queries of each set; 0 for all. For learning curves.
    """

    __pydantic_config__: ClassVar = STRICT

    sets: tuple[str, ...] = ()
    loss: LossConfig = field(default_factory=LossConfig)
    missing: Treatment = "hard-negative"
    epochs: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    lists: Positive = 4
    documents: Annotated[int, Field(ge=2)] = 20  # one alone is no pair
    accumulate: Positive = 1
    learning_rate: Amount = 5e-5
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.1
    weight_decay: Amount = 0.01
    max_queries: Count = 0


@dataclass(frozen=True)
class DevConfig:
    """A run that is re-ranked during training by our own engine; never the test set.

    Args:
        run: first stage; its topics and texts are found as in `rrarank.rerank`.
        every: optimiser steps between two looks.
        patience: looks without a better value after which training stops; the best checkpoint is kept.
    """

    __pydantic_config__: ClassVar = STRICT

    run: str
    qrels: str
    topics: str = ""
    collection: str = ""
    measure: str = "ndcg@10"
    depth: Positive = 100
    every: Positive = 200
    patience: Positive = 3


@dataclass(frozen=True)
class TrainConfig:
    """A whole training.

    Args:
        base: folder or hub id of an encoder, or of a student that was warmed up; empty for all-MiniLM-L6-v2, as the
            reranker `bi-encoder` finds it.
        stages: in order, such as a warm-up and RankNet.
        term_control: RRA-BERT's second score; none for a plain cross-encoder.
        dev: what chooses among checkpoints; none keeps the last.
        prompt: how a causal language model as the base is asked, whose score is then log p(yes) - log p(no); none for
            its decoder with a new head.
        reasoning: RRA-GPT's verdicts and reasons, which the prompted model learns to give; none for its score alone.
        lora: adapters learn in place of the whole model; none for all of it.
        max_length: most tokens of a pair in training.
        dropout: of the encoder; -1 for what its own configuration says.
        frozen: lower layers that stay as they are, with the embeddings; 0 trains all.
        chunk: pairs that go through the encoder at once: less padding the fewer, less overhead the more.
        save_every: optimiser steps between two checkpoints.
        notes: for the model card, such as the terms of the training data.
    """

    __pydantic_config__: ClassVar = STRICT

    base: str = ""
    stages: tuple[StageConfig, ...] = (StageConfig(),)
    term_control: TermControlConfig | None = None
    dev: DevConfig | None = None
    prompt: PromptConfig | None = None
    reasoning: ReasoningConfig | None = None
    lora: LoraConfig | None = None
    max_length: Annotated[int, Field(ge=8)] = 256
    dropout: Annotated[float, Field(ge=-1, lt=1)] = -1.0
    frozen: Count = 0
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42  # numpy takes no other
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    chunk: Positive = 16
    save_every: Positive = 200
    notes: str = ""


def load_config(name: str) -> TrainConfig:
    """A preset by its bare name, or a YAML file with the keys of `TrainConfig`.

    Raises:
        RrarankError: no such preset or file, an unknown key, or a value of another kind; all of them at once.
    """
    path = shipped_or_file(name, "training")
    return _checked(read_yaml(path), str(path))


def check_config(config: TrainConfig) -> None:
    """The same for a configuration made in Python or changed by a flag."""
    _checked(asdict(config), "config")


def _checked(content: Mapping[str, object], where: str) -> TrainConfig:
    config = checked(TrainConfig, content, where)
    if config.reasoning and (config.term_control or not config.prompt):
        raise RrarankError(f"{where}: reasoning is for a causal language model; give prompt, and no term_control")
    if config.lora and config.frozen:
        raise RrarankError(f"{where}: lora freezes all layers already; leave frozen out")
    if not config.stages:
        raise RrarankError(f"{where}: stages is empty; leave it out for one stage of defaults")
    for number, stage in enumerate(config.stages):
        known = list(inspect.signature(LOSSES[stage.loss.name]).parameters)[2:]  # after scores and labels
        if unknown := sorted(set(stage.loss.options).difference(known)):
            raise RrarankError(
                f"{where}: stages.{number}.loss.options: unknown {shown(unknown)} "
                f"({stage.loss.name} has {', '.join(known) or 'none'})"
            )
    return config
