"""What made a student: facts for its config.json and a model card. Files by name and hash, no paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rrarank.data.distillation_set import one_line, teacher_name
from rrarank.data.documents import json_object
from rrarank.data.types import LabelledRanking
from rrarank.storage.files import find, read_lines, sha256
from rrarank.storage.model_folders import MINILM, fingerprint, locate, minilm
from rrarank.train.config import TrainConfig

_CARD = """---
library_name: transformers
pipeline_tag: text-ranking
tags: [cross-encoder, rrarank, text-ranking]
---
# {name}

A cross-encoder that scores how well a passage answers a query, trained by `rrarank` ({method}).
{notes}
## Use

```
python -m rrarank.rerank --run bm25.trec --reranker cross-encoder --model {name}
```

or as any sequence classifier with one label, from the folder that holds this one:
`sentence_transformers.CrossEncoder("./{name}")` gives the same scores.
Pairs longer than {longest} tokens are cut, the longer of the two texts first; training saw {max_length}.

## Training

Starts from {base}.

| stage | set | queries | teacher | loss | documents a list | epochs | learning rate |
|---|---|---|---|---|---|---|---|
{stages}

Seed {seed}, {precision}. The whole configuration, with the sha256 of every set, is in `config.json` under `rrarank`.
"""


def recipe(config: TrainConfig, sets: Mapping[str, Sequence[LabelledRanking]]) -> dict[str, Any]:
    """The configuration as JSON values: each file by name and sha256, each set with its teachers, the base with its own
    recipe if it is a student.

    Args:
        sets: path -> labels, for every set that the configuration names.
    """
    facts: dict[str, Any] = asdict(config)
    for stage, told in zip(config.stages, facts["stages"], strict=True):
        told["sets"] = [_set(path, sets[path][: stage.max_queries or None]) for path in stage.sets]
    if config.dev:
        facts["dev"] |= {"run": _file(config.dev.run, "runs"), "qrels": _file(config.dev.qrels, "qrels")}
        facts["dev"] |= {name: Path(facts["dev"][name]).name for name in ("topics", "collection")}
    facts["base"] = _base(config.base)
    return facts


def _set(path: str, labels: Sequence[LabelledRanking]) -> dict[str, object]:
    teachers = sorted({teacher_name(label) for label in labels} - {""})
    return {**_file(path), "queries": len(labels), "teachers": teachers}


def _file(path: str, folder: str = "") -> dict[str, object]:
    found = find(path, folder)
    return {"name": found.name, "sha256": sha256(found)}


def _base(name: str) -> dict[str, object]:
    folder = locate(name or minilm())
    path = folder / "config.json"
    config: Any = json_object("".join(read_lines(path)), str(path))
    known = MINILM if folder == locate(minilm()) else folder.resolve().name if Path(name).is_dir() else name
    return {"name": known, "sha256": fingerprint(folder), **config.get("rrarank", {})}


def model_card(name: str, facts: Mapping[str, Any], longest: int) -> str:
    """README.md of a model folder.

    Args:
        facts: by `recipe`.
        longest: most tokens of a pair that the model reads.
    """
    control = facts["term_control"]
    method = "RRA-BERT: with Token Selection and a Term Control Layer in training, dropped here" if control else "plain"
    method = "RRA-GPT: with verdicts and reasons in training, not generated here" if facts.get("reasoning") else method
    return _CARD.format(
        name=name,
        method=method,
        notes=f"\n{facts['notes'].strip()}\n" if facts["notes"] else "",
        longest=longest,
        max_length=facts["max_length"],
        base=_lineage(facts),
        stages="\n".join(_rows(facts)),
        seed=facts["seed"],
        precision=facts["precision"],
    )


def _lineage(facts: Mapping[str, Any]) -> str:
    base = facts["base"]
    if "recipe" in base:
        return f"`{base['name']}`, a student that starts from {_lineage(base['recipe'])}"
    if facts.get("prompt"):
        return f"`{base['name']}`, asked by a prompt; before training it scored by the odds of yes against no"
    return f"`{base['name']}`, with a new head"


def _rows(facts: Mapping[str, Any]) -> list[str]:
    """Of all stages, those of the base first."""
    before = _rows(facts["base"]["recipe"]) if "recipe" in facts["base"] else []
    return before + [
        f"| {number} | {one['name']} | {one['queries']:,} | {'; '.join(map(_short, one['teachers']))} "
        f"| {stage['loss']['name']} | {stage['documents']} | {stage['epochs']:g} | {stage['learning_rate']:g} |"
        for number, stage in enumerate(facts["stages"], start=len(before) + 1)
        for one in stage["sets"]
    ]


def _short(teacher: str) -> str:
    """`runs: a, b, c, d` -> `runs: a, b and 2 more`; one cell of a table, whatever its name."""
    teacher = one_line(teacher).replace("|", "\\|")
    first, *more = teacher.split(", ")
    return f"{first}, {more[0]} and {len(more) - 1} more" if len(more) > 1 else teacher
