"""The configuration of a training: the base model, its stages, and the dev run that chooses a checkpoint."""

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
    """One stage: a run of the trainer over some sets.

    Args:
        sets: distillation sets.
        loss: the loss.
        missing: how documents that the teacher left out are used (`lists.training_list`).
        epochs: how often each document is seen; may be a fraction.
        lists: lists per step and device.
        documents: approximate size of a list; longer labels are cut into several lists.
        accumulate: steps whose gradients are added before the optimiser steps.
        learning_rate: 5e-5, as RankGPT's students were trained with.
        warmup: share of the steps in which the learning rate rises; then it falls linearly.
        max_queries: use only this many queries of each set, for learning curves; 0 for all.
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
    """A run that is re-ranked during training to choose a checkpoint; never use a test set.

    Args:
        run: first stage; its topics and texts are found as in `rrarank.rerank`.
        every: optimiser steps between two evaluations.
        patience: evaluations without improvement after which training stops; the best checkpoint is kept.
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
        base: folder or hub id of an encoder or a student; empty for all-MiniLM-L6-v2, as the reranker `bi-encoder`
            finds it.
        stages: in order, for example a warm-up and then RankNet.
        term_control: RRA-BERT's second score; none for a plain cross-encoder.
        dev: chooses among checkpoints; none keeps the last.
        prompt: how a causal language model is asked; its score is log p(yes) - log p(no). None gives the decoder a new
            head.
        reasoning: RRA-GPT's verdicts and reasons, learned by the prompted model; none trains its score alone.
        lora: train adapters instead of the whole model; none trains all of it.
        max_length: most tokens of a pair in training.
        dropout: of the encoder; -1 for the value in its own configuration.
        frozen: number of lower layers, with the embeddings, that are not trained; 0 trains all.
        chunk: pairs encoded at once: a small chunk has less padding, a large one less overhead.
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
    """Check a configuration made in Python or changed by a flag."""
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
