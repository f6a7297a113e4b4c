"""Sets in, a saved student out: `transformers.Trainer` over one module {base, term_control}, stage by stage.

A killed training goes on from its last checkpoint and ends with the same weights; several GPUs or machines are
Accelerate's business (`accelerate launch -m rrarank.train …`).
"""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    EarlyStoppingCallback,
    PrinterCallback,
    Trainer,
    TrainingArguments,
    set_seed,
)

from rrarank.data.distillation_set import read_set
from rrarank.data.types import LabelledRanking, Run
from rrarank.data.verdicts import answers
from rrarank.engine.blocks import RerankConfig, rerank_run
from rrarank.engine.registry import load_reranker
from rrarank.errors import RrarankError, shown
from rrarank.measures.scores import evaluate_runs
from rrarank.rerankers.backends.torch import with_pad_token
from rrarank.rerankers.cross_encoder import longest_input
from rrarank.sources.inputs import Inputs, Origins, load_inputs
from rrarank.sources.texts import load_qrels
from rrarank.storage.files import atomic_write, find
from rrarank.storage.model_folders import loading, locate, minilm
from rrarank.train.card import recipe
from rrarank.train.config import DevConfig, StageConfig, TrainConfig, check_config
from rrarank.train.graft import graft
from rrarank.train.lists import Collator, TrainingList, check_fast_tokenizer, common_tokens, epoch, training_list
from rrarank.train.lora import add_adapters
from rrarank.train.prompted import prompted
from rrarank.train.reasoning import ReasoningCollator, ReasoningStudent
from rrarank.train.saved_model import save_model
from rrarank.train.student import Student

Follow = Callable[[Mapping[str, Any]], None]


def train_model(
    config: TrainConfig, work: Path, *, threads: int = 0, workers: int = 0, follow: Follow = lambda _: None
) -> tuple[Student, Any]:
    """A student trained through all stages, and its tokenizer.

    Args:
        work: folder of checkpoints; what it holds of the same training is not done again.
        threads: of the CPU; 0 for the library's default.
        workers: processes that tokenise the next batches, so that a GPU need not wait; 0 for none beside this one.
        follow: is told every entry of the log.

    Raises:
        RrarankError: nothing to learn from, a base that does not fit, or a folder of another training.
    """
    check_config(config)
    wanted = json.dumps(recipe(config), indent=2) + "\n"
    _check_other(work, wanted)
    dev = _load_dev(config.dev) if config.dev else None
    stages = [_training_lists(stage, config) for stage in config.stages]
    set_seed(config.seed)  # of the new heads
    tokenizer, base, head = _load_base(config, stages, threads)
    student = _student(config, tokenizer, base, head, stages)
    with atomic_write(work / _RECIPE) as file:
        file.write(wanted)
    collator = _collator(config, tokenizer)
    for number, (stage, lists) in enumerate(zip(config.stages, stages, strict=True), start=1):
        arguments = _arguments(config, stage, work / f"stage-{number}", workers)
        _train_stage(student, collator, config, stage, lists, dev, arguments, follow)
    return student, tokenizer


_RECIPE = "recipe.json"


def _check_other(work: Path, wanted: str) -> None:
    """Refuse a folder of something else, or of checkpoints that another recipe made; without any, it is ours."""
    path = work / _RECIPE
    if path.is_file():
        if any(work.glob("stage-*/*")) and path.read_bytes() != wanted.encode():
            raise RrarankError(
                f"{work}: holds the checkpoints of another training; remove it, or give another --output"
            )
    elif work.exists() and (not work.is_dir() or any(not found.name.startswith(".") for found in work.iterdir())):
        raise RrarankError(f"{work}: in the way, and no checkpoints of a training; move it, or give another --output")


def _training_lists(stage: StageConfig, config: TrainConfig) -> list[TrainingList]:
    rng = random.Random(config.seed)
    labels = [label for path in stage.sets for label in _labels(path)[: stage.max_queries or None]]
    said = [answers(label, config.reasoning) if config.reasoning else None for label in labels]
    read = zip(labels, said, strict=True)
    lists = [found for label, answer in read if (found := training_list(label, stage.missing, rng, answer))]
    if not lists:
        where = ", ".join(stage.sets) or "no sets"
        raise RrarankError(f"{where}: no pair to learn from; give --sets with listed documents")
    return lists


def _labels(path: str) -> list[LabelledRanking]:
    """Of a set whose teachers' grades and scores are numbers, which other readers of sets need not know."""
    labels = read_set(find(path))
    for label in labels:
        for name in ("grades", "scores"):
            told = label.provenance.get(name)
            values = told.values() if isinstance(told, Mapping) else ()
            if odd := [value for value in values if type(value) not in (int, float)]:
                raise RrarankError(
                    f"{path}: query {label.query.qid!r}: {name} in its provenance hold {shown(odd)}, expected numbers"
                )
    return labels


def _student(
    config: TrainConfig, tokenizer: Any, base: Any, head: Any, stages: Sequence[Sequence[TrainingList]]
) -> Student:
    if config.reasoning:
        return ReasoningStudent(base, tokenizer, config.reasoning, head)
    return Student(base, tokenizer, config.term_control, _common(config, tokenizer, stages))


def _collator(config: TrainConfig, tokenizer: Any) -> Collator:
    sizes = (tokenizer, config.max_length, config.chunk)
    if config.reasoning and config.prompt:
        return ReasoningCollator(*sizes, config.prompt, config.reasoning.reason_tokens)
    return Collator(*sizes)


def _load_base(config: TrainConfig, stages: Sequence[Sequence[TrainingList]], threads: int) -> tuple[Any, Any, Any]:
    """Tokenizer, sequence classifier, whose head is new unless the base is a student, or grafted, or prompted, and what
    a prompted language model speaks by."""
    head = None
    folder = locate(config.base or minilm())
    changes = {"hidden_dropout_prob": config.dropout, "attention_probs_dropout_prob": config.dropout}
    with loading(config.base, "", threads):
        _check_unfit(config, AutoConfig.from_pretrained(folder))
        changes = changes if config.dropout >= 0 else {}
        if config.prompt:
            tokenizer, base, head = prompted(folder, config.base, config.prompt, **changes)
        else:
            tokenizer = AutoTokenizer.from_pretrained(folder)
            kind = AutoModel if config.graft else AutoModelForSequenceClassification
            base = kind.from_pretrained(folder, num_labels=1, dtype=torch.float32, use_safetensors=True, **changes)
    check_fast_tokenizer(tokenizer)
    with_pad_token(tokenizer, base)
    if config.graft:
        base = graft(base.eval(), tokenizer, *_sample(stages, config.graft.texts, config.seed), config.graft)
    _check_misfit(config, tokenizer, base)
    if config.frozen:
        _freeze(base.base_model, config.frozen)
    if config.lora:
        add_adapters(base, config.lora)
    if config.gradient_checkpointing:
        getattr(base, "activation_checkpointing_enable", base.gradient_checkpointing_enable)()  # its newer name
    return tokenizer, base, head


def _sample(stages: Sequence[Sequence[TrainingList]], size: int, seed: int) -> tuple[list[str], list[str]]:
    """Queries and documents of the training, at most so many each."""
    rng = random.Random(seed)
    lists = [one for stage in stages for one in stage]
    texts = {text for one in lists for text in one.texts}
    queries = {one.query for one in lists}
    return tuple(rng.sample(sorted(found), min(size, len(found))) for found in (queries, texts))  # type: ignore[return-value]


def _check_unfit(config: TrainConfig, known: Any) -> None:
    """By a base's own configuration, before its weights are read."""
    has_head = any("SequenceClassification" in name for name in known.architectures or ())
    if known.is_encoder_decoder:
        raise RrarankError(f"{config.base}: an encoder-decoder ({known.model_type}); give an encoder, such as BERT")
    if has_head and (config.graft or config.prompt):
        made, wanted = ("graft", "a bi-encoder") if config.graft else ("prompt", "a causal language model")
        raise RrarankError(f"{config.base}: a re-ranker already; leave {made} out, or give {wanted} as the base")
    if has_head and known.num_labels != 1:
        raise RrarankError(
            f"{config.base}: a classifier of {known.num_labels} labels; give an encoder, or a re-ranker with one label"
        )
    if config.dropout >= 0 and not hasattr(known, "hidden_dropout_prob"):
        raise RrarankError(f"dropout is {config.dropout:g}: {known.model_type} names its own otherwise; leave it out")


def _check_misfit(config: TrainConfig, tokenizer: Any, base: Any) -> None:
    """What would break in the midst of a training: padding, ids, positions or layers that are not there."""
    if tokenizer.pad_token is None:
        raise RrarankError(f"{config.base}: its tokenizer has no padding token; set its pad_token")
    if len(tokenizer) > (size := base.get_input_embeddings().num_embeddings):
        raise RrarankError(f"{config.base}: {len(tokenizer):,} tokens in its tokenizer, but {size:,} embeddings")
    if config.max_length > (longest := longest_input(tokenizer, base.config)):
        raise RrarankError(f"max_length is {config.max_length}: the base reads {longest} tokens at most")
    layers = base.config.get_text_config().num_hidden_layers
    if config.term_control and not -layers - 1 <= config.term_control.selection.layer <= layers:
        raise RrarankError(f"term_control.selection.layer: the base has {layers} layers; expected -1 to {layers}")
    if config.frozen > layers:
        raise RrarankError(f"frozen is {config.frozen}: the base has {layers} layers")


def _freeze(encoder: Any, layers: int) -> None:
    """Embeddings and the lowest layers learn nothing: less to compute backwards, less to forget."""
    if hasattr(encoder, "embeddings") and hasattr(getattr(encoder, "encoder", None), "layer"):
        parts = (encoder.embeddings, *encoder.encoder.layer[:layers])
    elif hasattr(encoder, "embed_tokens") and hasattr(encoder, "layers"):
        parts = (encoder.embed_tokens, *encoder.layers[:layers])
    else:
        name = type(encoder).__name__
        raise RrarankError(f"frozen is {layers}: only for models built as BERT or Llama, not {name}; leave it out")
    for part in parts:
        part.requires_grad_(False)


def _common(config: TrainConfig, tokenizer: Any, stages: Sequence[Sequence[TrainingList]]) -> frozenset[int]:
    if not config.term_control:
        return frozenset()
    texts = (text for lists in stages for one in lists for text in one.texts)
    return common_tokens(tokenizer, texts, config.term_control.selection.max_document_share)


# -- one stage --------------------------------------------------------------------------------------------------------


def _train_stage(
    student: Student,
    collator: Collator,
    config: TrainConfig,
    stage: StageConfig,
    lists: Sequence[TrainingList],
    dev: _Dev | None,
    arguments: TrainingArguments,
    follow: Follow,
) -> None:
    """Train, or take over the weights where the stage is done."""
    folder = Path(arguments.output_dir)
    done = folder / "done.safetensors"
    if not done.is_file():
        student.loss = stage.loss
        trainer = _StageTrainer(
            model=student,
            args=arguments,
            train_dataset=_plan(lists, stage, config.seed),
            eval_dataset=[] if dev else None,  # `evaluate` has its own, the Trainer only asks whether there is one
            data_collator=collator,
            callbacks=[EarlyStoppingCallback(config.dev.patience)] if config.dev else [],
            dev=dev,
            follow=follow,
        )
        trainer.remove_callback(PrinterCallback)  # `follow` tells the same
        trainer.train(resume_from_checkpoint=_last_whole_checkpoint(folder))
        if trainer.is_world_process_zero():
            _write_log(folder, trainer.state.log_history)
            _tell_examples(student, collator, lists[0], follow)
            save_file(student.state_dict(), folder / "done.tmp")
            (folder / "done.tmp").replace(done)
        trainer.accelerator.wait_for_everyone()
    student.load_state_dict(load_file(done))


def _tell_examples(student: Student, collator: Collator, one: TrainingList, follow: Follow) -> None:
    """The best and the worst document of a list with what Token Selection took; not in the log, which holds no text."""
    if student.term_control:
        ends = replace(one, texts=(one.texts[0], one.texts[-1]), levels=(1.0, 0.0), scores=())
        device = next(student.parameters()).device
        chunks = [{name: value.to(device) for name, value in chunk.items()} for chunk in collator([ends])["chunks"]]
        for line in student.eval().examples(chunks, [2], collator.tokenizer):
            follow({"selected": line})


def _last_whole_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint that was written to its end, which is `trainer_state.json`; torn ones are passed over."""
    for path in sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]), reverse=True):
        try:
            json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        return str(path)
    return None


def _arguments(config: TrainConfig, stage: StageConfig, folder: Path, workers: int) -> TrainingArguments:
    looks = config.dev.every if config.dev else config.save_every
    return TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=1,  # the plan holds them all
        train_sampling_strategy="sequential",
        per_device_train_batch_size=stage.lists,
        gradient_accumulation_steps=stage.accumulate,
        learning_rate=stage.learning_rate,
        warmup_steps=stage.warmup,  # below 1: a share of the steps
        weight_decay=stage.weight_decay,
        bf16=config.precision == "bfloat16",
        fp16=config.precision == "float16",
        seed=config.seed,
        dataloader_num_workers=workers,
        logging_steps=10,
        save_steps=looks,
        save_total_limit=2,
        eval_strategy="steps" if config.dev else "no",
        eval_steps=looks,
        load_best_model_at_end=bool(config.dev),
        metric_for_best_model=f"eval_{config.dev.measure}" if config.dev else None,
        greater_is_better=True,
        remove_unused_columns=False,
        disable_tqdm=True,
        report_to=[],
        use_cpu=not torch.cuda.is_available(),
    )


def _plan(lists: Sequence[TrainingList], stage: StageConfig, seed: int) -> list[TrainingList]:
    """Every list of the stage in the order in which it is seen."""
    size = len(epoch(lists, stage.documents, seed, 0))
    wanted = max(1, round(size * stage.epochs))
    plan: list[TrainingList] = []
    for number in count():
        plan += epoch(lists, stage.documents, seed, number)
        if len(plan) >= wanted:
            return plan[:wanted]
    raise AssertionError


def _write_log(folder: Path, history: Sequence[Mapping[str, Any]]) -> None:
    with atomic_write(folder / _LOG) as file:
        file.writelines(json.dumps({"stage": folder.name, **entry}) + "\n" for entry in history)


def read_logs(work: Path) -> list[list[dict[str, Any]]]:
    """The entries of each finished stage."""
    logs = sorted(work.glob(f"stage-*/{_LOG}"), key=lambda path: int(path.parent.name.removeprefix("stage-")))
    return [[json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] for path in logs]


_LOG = "log.jsonl"


class _StageTrainer(Trainer):  # type: ignore[misc]  # transformers is untyped
    """The Trainer, with the parts of the loss and the pairs a second in its log, and our own engine to evaluate."""

    def __init__(self, *, dev: _Dev | None, follow: Follow, **settings: Any) -> None:
        super().__init__(**settings)
        self.dev, self.follow = dev, follow
        self.parts: defaultdict[str, list[float]] = defaultdict(list)
        self.since = time.perf_counter()

    def compute_loss(
        self, model: Any, inputs: Mapping[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        outputs = model(**inputs)
        if not outputs["loss"].isfinite():
            raise RrarankError(
                f"step {self.state.global_step + 1}: the loss is {outputs['loss'].item()}; "
                "lower learning_rate, or look at the scores and options of the loss"
            )
        for name, value in outputs.items():
            if name != "loss" and value.dim() == 0:
                self.parts[name].append(float(value.detach()))
        self.parts["pairs"].append(len(outputs["scores"]))
        return (outputs["loss"], outputs) if return_outputs else outputs["loss"]

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the means of the loss's parts since the last entry, and the pairs a second."""
        if pairs := self.parts.pop("pairs", []):
            logs |= {name: sum(values) / len(values) for name, values in self.parts.items()}
            logs["pairs_per_second"] = sum(pairs) / (time.perf_counter() - self.since)
            self.parts.clear()
            self.since = time.perf_counter()
        super().log(logs, start_time)
        if self.is_world_process_zero():
            self.follow(self.state.log_history[-1] | {"steps": self.state.max_steps})

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """The measure on the dev run, of the model as it would be saved now."""
        assert self.dev  # only asked with one
        metrics = {
            f"eval_{self.dev.config.measure}": self.dev.measure(self.model.classifier(), self.data_collator.tokenizer)
        }
        self.log(metrics)
        self.control: Any = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        self.since = time.perf_counter()  # looking is not training
        return metrics


def _load_dev(config: DevConfig) -> _Dev:
    try:
        return _Dev(config)
    except RrarankError as error:
        raise type(error)(f"dev: {error}") from None


class _Dev:
    """A first stage with its judgments, re-ranked by the student as it is."""

    def __init__(self, config: DevConfig) -> None:
        self.config = config
        self.qrels = load_qrels(find(config.qrels, "qrels"))
        self.inputs: Inputs = load_inputs(config.run, Origins(config.topics, config.collection), depth=config.depth)
        run = {qid: hits[: config.depth] for qid, hits in self.inputs.run.items()}
        evaluate_runs(self.qrels, {config.run: Run(run)}, measures=[config.measure])  # refuses what it cannot measure
        if not any(self.qrels.get(qid, {}).get(hit.docid, 0) > 0 for qid, hits in run.items() for hit in hits):
            raise RrarankError(
                f"{config.qrels}: none of the first {config.depth} documents of {config.run} is relevant; "
                "no order of them can be better than another"
            )

    def measure(self, base: Any, tokenizer: Any) -> float:
        with tempfile.TemporaryDirectory() as folder:
            save_model(base, tokenizer, Path(folder, "student"))
            reranker = load_reranker("cross-encoder", model=str(Path(folder, "student")))
            run = rerank_run(
                self.inputs.run,
                reranker,
                topics=self.inputs.topics,
                texts=self.inputs.texts,
                config=RerankConfig(depth=self.config.depth),
            )
        rows = evaluate_runs(self.qrels, {"student": run}, measures=[self.config.measure]).rows
        return float(rows[0].means[self.config.measure])
