"""Pyserini's names for topics, judgments and indexes, as ir_datasets ids (`prebuilt/names.json`)."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from pathlib import Path

from rrarank.data.beir import QRELS, QUERIES, in_folder
from rrarank.errors import RrarankError, did_you_mean
from rrarank.storage.files import find

TOPICS = "topics"  # judgments have the same names
TEXTS = "texts"  # the documents of an index of that name


@cache
def ids_by_name(kind: str) -> dict[str, str]:
    """name -> ir_datasets id, for `TOPICS` or `TEXTS`."""
    text = resources.files("rrarank.prebuilt").joinpath("names.json").read_text(encoding="utf-8")
    return dict(json.loads(text)[kind])


def file_or_id(name: str | Path, folder: str = "") -> Path | str:
    """Topics, or judgments with the folder `qrels`: a file (also of a BEIR folder), or the ir_datasets id of a name.

    Raises:
        RrarankError: none of these; it suggests the nearest name.
    """
    name = in_folder(name, QRELS if folder == "qrels" else QUERIES)
    try:
        return find(name, folder)
    except RrarankError as error:
        if found := ids_by_name(TOPICS).get(str(name)):
            return found
        raise RrarankError(f"{error}{did_you_mean(str(name), ids_by_name(TOPICS), 0.75)}") from None
