"""Prompts about one or two passages: YAML files with rank_llm's keys for point-wise and pair-wise prompts."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rrarank.errors import RrarankError, shown
from rrarank.llm.base import Messages
from rrarank.llm.prompts import fill, neutralise, placeholders, text_of
from rrarank.storage.yaml_settings import read_yaml, shipped_or_file

SLOTS = {"pointwise": ("doc_content",), "pairwise": ("doc1", "doc2")}
"""Method -> the placeholders of its passages."""


@dataclass(frozen=True)
class PairPrompt:
    """A prompt that shows a query and one or two passages.

    Args:
        message_roles: `reranker`: query and passage are messages of their own roles, for a chat template that knows
            them (Qwen3-Reranker behind vLLM); `instruction` is then the system message.
    """

    method: str
    body: str = ""
    system_message: str = ""
    instruction: str = ""
    message_roles: str = ""

    @property
    def sha256(self) -> str:
        """The hash of the texts, not of the file: comments do not matter."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    @property
    def labels(self) -> tuple[str, ...]:
        """What names each passage in the body: `A` of `Passage A: {doc1}`, `0` of `Document0: {doc1}`."""
        name = r"([A-Za-z]*?[0-9]+|\b[A-Z])\W{0,4}"
        found = [re.search(rf"{name}\{{{slot}\}}", self.body) for slot in SLOTS[self.method]]
        return tuple(one[1] if one else str(place) for place, one in enumerate(found, start=1))


def load_pair_prompt(name: str | Path, method: str) -> PairPrompt:
    """A shipped prompt by its name, or a YAML file.

    Args:
        method: `pointwise` or `pairwise`.

    Raises:
        RrarankError: no such prompt, not YAML, of another method, or a placeholder is missing or unknown.
    """
    content = read_yaml(shipped_or_file(name, f"{method}-prompts"))
    if content.get("method") != method:
        raise RrarankError(f"{name}: method {content.get('method')!r}, expected {method!r}")
    prompt = PairPrompt(**{key: text_of(content.get(key), key, name) for key in PairPrompt.__dataclass_fields__})
    if prompt.message_roles not in ("", "default", "reranker"):
        raise RrarankError(f"{name}: message_roles {prompt.message_roles!r}, expected 'reranker' or 'default'")
    if prompt.message_roles != "reranker":
        _check_body(prompt, name)
    return prompt


def _check_body(prompt: PairPrompt, where: str | Path) -> None:
    needed = {"query", *SLOTS[prompt.method]}
    found = placeholders(prompt.body)
    if not needed <= found <= needed | {"instruction"}:
        seen = shown(f"{{{name}}}" for name in sorted(found)) or "no placeholder"
        expected = shown(f"{{{name}}}" for name in sorted(needed))
        raise RrarankError(f"{where}: the body contains {seen}, expected {expected}")


def pair_messages(prompt: PairPrompt, query: str, passages: Sequence[str]) -> Messages:
    """The prompt as chat messages; the passages are neutralised and cut already."""
    query = neutralise(query)
    if prompt.message_roles == "reranker":
        parts = [("system", prompt.instruction), ("query", query), ("document", passages[0])]
        return [{"role": role, "content": text} for role, text in parts]
    values: Mapping[str, str] = {"query": query, "instruction": prompt.instruction.strip()}
    body = fill(prompt.body, {**values, **dict(zip(SLOTS[prompt.method], passages, strict=True))})
    turns = [("system", prompt.system_message), ("user", body)]
    return [{"role": role, "content": text} for role, text in turns if text]
