"""The YAML file of a table: its columns, its rows and their expected scores."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from rrarank.engine import registry
from rrarank.errors import MissingResource, RrarankError, shown
from rrarank.llm.base import LLMConfig
from rrarank.llm.keys import check_key_host
from rrarank.storage.yaml_settings import STRICT, checked, read_yaml, shipped_or_file

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,19}$")]  # of a file, and a run's tag
Finite = Annotated[float, Field(allow_inf_nan=False)]
Distance = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(gt=0)]

PLACES = ("run", "topics", "qrels", "collection", "index", "dataset")  # of a column; also flags that fill `{run}`, …
POOL = 1000  # most judged passages a query: MIRACL has 10, TREC DL some 200
_PLACE_HOLDER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class BM25Config:
    """BM25 settings for making a column's first stage; the defaults are Pyserini's."""

    __pydantic_config__: ClassVar = STRICT

    k1: Distance = 0.9
    b: Annotated[float, Field(ge=0, le=1)] = 0.4
    language: str = "en"


@dataclass(frozen=True)
class ColumnConfig:
    """A test set and its protocol. Files may hold `{data}` (--data) and `{run}`, `{topics}`, … (the flags so named).

    Args:
        protocol: `bm25-top`: a first stage's best `depth`; `judged-pool`: exactly the passages that have a judgment.
        qrels: file, BEIR folder or Pyserini's name; empty for those of `dataset`.
        run: first stage; as in `rrarank.rerank`, its sidecar may name topics and texts.
        dataset: ir_datasets id, used where no file is given.
        bm25: how to make the first stage where there is no run: from `index`, from an index of `collection` or of the
            documents of `dataset`, or for a judged pool from an index of its passages.
        depth: candidates of `bm25-top`.
        remove_query: leave out the document whose docid is the qid, as ArguAna and Quora need.
        sample: this many of the judged queries, drawn by `seed`; 0 for all.
        get: how to get the data, in one line.
    """

    __pydantic_config__: ClassVar = STRICT

    title: str
    protocol: Literal["bm25-top", "judged-pool"]
    qrels: str = ""
    run: str = ""
    topics: str = ""
    collection: str = ""
    index: str = ""
    dataset: str = ""
    bm25: BM25Config | None = None
    depth: Positive = 100
    remove_query: bool = False
    sample: Count = 0
    seed: int = 42
    get: str = ""

    @property
    def label(self) -> str:
        """The protocol as printed in headers: `bm25-top100`."""
        return self.protocol if self.is_pool else f"{self.protocol}{self.depth}"

    @property
    def is_pool(self) -> bool:
        return self.protocol == "judged-pool"

    @property
    def most(self) -> int:
        """The most candidates per query."""
        return POOL if self.is_pool else self.depth

    @property
    def is_direct(self) -> bool:
        """Whether the run itself holds the candidates, so that no file has to be made."""
        return not (self.is_pool or self.sample or self.remove_query) and bool(self.run)


@dataclass(frozen=True)
class RowConfig:
    """A system.

    Args:
        reranker: a registered name.
        model: folder, hub id or name of one that ships; empty for the reranker's own.
        needs: what the user must give as `--model ROW=…`, in one line; empty if `model` is enough.
        settings: of the reranker, such as `max_length` or `window`.
        teacher: what its model learnt from, where the model's own recipe does not say.
        expected: column -> measure -> score, or [score, tolerance]; only for the row's own model.
        notes: column -> what a reader must know about that cell.
        paper: column -> the paper's own figures, in the order of the table's measures.
    """

    __pydantic_config__: ClassVar = STRICT

    title: str
    reranker: str
    model: str = ""
    needs: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)  # Any: of each setting's own type
    teacher: str = ""
    expected: Mapping[Name, Mapping[str, Finite | tuple[Finite, Distance]]] = field(default_factory=dict)
    notes: Mapping[Name, str] = field(default_factory=dict)
    paper: Mapping[Name, tuple[Finite, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class OnlineConfig:
    """An online test beside the test sets, from a file that `rrarank.online` wrote (--online).

    Args:
        row: the system that users saw, and `baseline`, the one that others saw; also the arms' names in the file.
        paper: measure of `rrarank.online` -> the paper's own relative lift.
        get: how to get the file, in one line.
    """

    __pydantic_config__: ClassVar = STRICT

    row: str
    baseline: str
    paper: Mapping[str, Finite] = field(default_factory=dict)
    get: str = ""


@dataclass(frozen=True)
class TableConfig:
    """A whole table.

    Args:
        baseline: the row that all others are tested against.
        measures: as in `rrarank.evaluate`; the last one is tested.
        tolerance: allowed distance from an expected score that gives no tolerance of its own.
        remark: text below the table.
        online: an online test, a group of columns of its own; none: there is none.
    """

    __pydantic_config__: ClassVar = STRICT

    title: str
    baseline: str
    columns: Annotated[Mapping[Name, ColumnConfig], Field(min_length=1)]
    rows: Annotated[Mapping[Name, RowConfig], Field(min_length=1)]
    measures: Annotated[tuple[str, ...], Field(min_length=1)] = ("ndcg@5", "ndcg@10")
    tolerance: Distance = 0.001
    remark: str = ""
    online: OnlineConfig | None = None

    def expected(self, row: str, column: str) -> dict[str, tuple[float, float]]:
        """measure -> (score, tolerance)."""
        found = self.rows[row].expected.get(column, {})
        return {m: value if isinstance(value, tuple) else (value, self.tolerance) for m, value in found.items()}


def load_table(name: str) -> TableConfig:
    """Read a table by its shipped name, or from a YAML file with the keys of `TableConfig`.

    Raises:
        RrarankError: no such table or file, or unknown keys, wrong values and unknown names, all at once.
    """
    path = shipped_or_file(name, "tables")
    return check_table(read_yaml(path), str(path))


def check_table(content: Mapping[str, object], where: str) -> TableConfig:
    """The table with these keys; raises as `load_table` does."""
    table = checked(TableConfig, content, where)
    if faults := [*_column_faults(table), *_row_faults(table)]:
        raise RrarankError(f"{where}: {'; '.join(faults)}")
    return table


def _column_faults(table: TableConfig) -> Iterator[str]:
    for name, column in table.columns.items():
        known = {"data", *PLACES}
        if odd := sorted(place_holders(column) - known):
            yield f"columns.{name}: place holders {shown(odd)} (known: {', '.join(sorted(known))})"
        if not (column.qrels or column.dataset):
            yield f"columns.{name}: neither qrels nor a dataset with qrels"
        if not (column.is_pool or column.run or column.bm25):
            yield f"columns.{name}: bm25-top needs run, or bm25 to make one"


def _row_faults(table: TableConfig) -> Iterator[str]:
    if table.baseline not in table.rows:
        yield f"baseline is {table.baseline!r}, expected one of the rows ({', '.join(table.rows)})"
    for name, row in table.rows.items():
        try:
            registry.check_known(row.reranker)
        except RrarankError as error:
            yield f"rows.{name}.reranker: {error}"
        if fault := _key_fault(row):
            yield f"rows.{name}.settings: {fault}"
        for key, columns in {"expected": row.expected, "notes": row.notes, "paper": row.paper}.items():
            if odd := [column for column in columns if column not in table.columns]:
                yield f"rows.{name}.{key}: no column {shown(odd)} (columns: {', '.join(table.columns)})"
        measures = {measure for scores in row.expected.values() for measure in scores}
        if odd := sorted(measures.difference(table.measures)):
            yield f"rows.{name}.expected: no measure {shown(odd)} (measures: {', '.join(table.measures)})"
        if any(len(figures) != len(table.measures) for figures in row.paper.values()):
            yield f"rows.{name}.paper: expected {len(table.measures)} figures a column ({', '.join(table.measures)})"


def _key_fault(row: RowConfig) -> str:
    """Why an LLM's key must not go where a row sends it; empty if it may."""
    if not row.settings.get("base_url"):  # OPENAI_BASE_URL is the user's own
        return ""
    try:
        check_key_host(str(row.settings.get("api_key_env") or LLMConfig.api_key_env), str(row.settings["base_url"]))
    except RrarankError as error:
        return str(error)
    return ""


# -- place holders ----------------------------------------------------------------------------------------------------


def place_holders(column: ColumnConfig) -> set[str]:
    """The names in braces in a column's files."""
    return {name for part in PLACES for name in _PLACE_HOLDER.findall(getattr(column, part))}


def filled(column: ColumnConfig, places: Mapping[str, str]) -> ColumnConfig:
    """The column with its place holders filled.

    Args:
        places: place holder -> what stands for it.

    Raises:
        MissingResource: a required place was not given, or a file does not exist.
    """
    filled_in: dict[str, Any] = {part: _fill(getattr(column, part), places) for part in PLACES}
    found = replace(column, **filled_in)
    if not (found.qrels or found.dataset) or not (found.is_pool or found.run or found.bm25):
        flags = [f"--{part}" for part in PLACES if getattr(column, part) and not getattr(found, part)]
        raise MissingResource(f"not given: {' '.join(flags)}{_hint(column)}")
    for part in PLACES[:-1]:
        path = getattr(found, part)
        if "/" in path and not Path(path).exists():
            raise MissingResource(f"{path}: no such file{_hint(column)}")
    return found


def _fill(value: str, places: Mapping[str, str]) -> str:
    absent = [name for name in _PLACE_HOLDER.findall(value) if not places.get(name)]
    if not absent:
        return _PLACE_HOLDER.sub(lambda found: places[found[1]], value)
    if value == f"{{{absent[0]}}}":  # optional: a sidecar may name it
        return ""
    raise MissingResource(f"not given: --{absent[0]}, for {value}")


def _hint(column: ColumnConfig) -> str:
    return f"; {column.get}" if column.get else ""
