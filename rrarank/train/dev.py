"""The dev run of a training: re-ranked by the student as it is, to choose a checkpoint."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from rrarank.data.types import Run
from rrarank.engine.blocks import RerankConfig, rerank_checked
from rrarank.engine.registry import load_reranker
from rrarank.errors import RrarankError
from rrarank.measures.scores import evaluate_runs
from rrarank.sources.inputs import Inputs, Origins, load_inputs
from rrarank.sources.texts import load_qrels
from rrarank.storage.files import find
from rrarank.train.config import DevConfig
from rrarank.train.saved_model import save_model


def load_dev(config: DevConfig) -> DevRun:
    try:
        return DevRun(config)
    except RrarankError as error:
        raise type(error)(f"dev: {error}") from None


class DevRun:
    """A first stage with its judgments, re-ranked by the student as it is."""

    def __init__(self, config: DevConfig) -> None:
        self.config = config
        self.qrels = load_qrels(find(config.qrels, "qrels"))
        self.inputs: Inputs = load_inputs(config.run, Origins(config.topics, config.collection), depth=config.depth)
        run = {qid: hits[: config.depth] for qid, hits in self.inputs.run.items()}
        # refuses what it cannot measure
        evaluate_runs(self.qrels, {config.run: Run(run)}, measures=[config.measure], rel_level=1)
        if not any(self.qrels.get(qid, {}).get(hit.docid, 0) > 0 for qid, hits in run.items() for hit in hits):
            raise RrarankError(
                f"{config.qrels}: none of the first {config.depth} documents of {config.run} is relevant; "
                "no order of them can be better than another"
            )

    def measure(self, base: Any, tokenizer: Any) -> float:
        with tempfile.TemporaryDirectory() as folder:
            save_model(base, tokenizer, Path(folder, "student"))
            reranker = load_reranker("cross-encoder", model=str(Path(folder, "student")))
            run = rerank_checked(
                self.inputs.run,
                reranker,
                topics=self.inputs.topics,
                texts=self.inputs.texts,
                config=RerankConfig(depth=self.config.depth),
            )
        rows = evaluate_runs(self.qrels, {"student": run}, measures=[self.config.measure], rel_level=1).rows
        return float(rows[0].means[self.config.measure])
