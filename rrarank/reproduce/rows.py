"""A table's rows: find each row's model, and say with which flags it re-ranks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from rrarank.engine import registry
from rrarank.engine.reranker import RerankerConfig
from rrarank.errors import RrarankError
from rrarank.reproduce.config import RowConfig
from rrarank.reproduce.model_facts import count_parameters, teacher_of
from rrarank.reproduce.table import Model
from rrarank.storage.model_folders import fingerprint, locate, minilm


@dataclass(frozen=True)
class Row:
    """A row and its model.

    Args:
        identity: the model's fingerprint or name, part of the key that tells whether a cell is done.
        absent: why the model cannot be had; empty if it can.
    """

    config: RowConfig
    model: Model
    identity: str = ""
    absent: str = ""

    @property
    def flags(self) -> list[str]:
        """For `python -m rrarank.rerank`."""
        found = ["--reranker", self.config.reranker, *(["--model", self.model.name] if self.model.name else [])]
        shared = set(RerankerConfig.__dataclass_fields__)
        for name, value in self.config.settings.items():
            flag, text = f"--{name.replace('_', '-')}", value if isinstance(value, str) else json.dumps(value)
            if name not in shared:
                found += ["--option", f"{name}={text}"]
            elif value is not False:
                found += [flag] if value is True else [flag, text]
        return found


def find_row(name: str, row: RowConfig, given: Mapping[str, str], allow_pickle: bool) -> Row:
    """Look for the row's model on disk.

    Args:
        given: row -> the model that a user gave.
    """
    model = Model(given.get(name, row.model), teacher=row.teacher, given=name in given)
    if row.needs and not model.name:
        return Row(row, model, absent=f"give --model {name}=…, {row.needs}")
    try:
        kind = registry.find_reranker(row.reranker)
        wanted = model.name or _default_model(row.reranker)
        if not kind.model_is_files or not wanted:
            return Row(row, model, identity=model.name)
        folder = locate(wanted, allow_pickle=allow_pickle or bool(row.settings.get("allow_pickle")))
    except RrarankError as error:
        return Row(row, model, absent=str(error))
    known = replace(model, parameters=count_parameters(folder), teacher=teacher_of(folder) or row.teacher)
    return Row(row, known, fingerprint(folder))


def _default_model(reranker: str) -> str:
    return minilm() if reranker == "bi-encoder" else registry.configure(reranker).model
