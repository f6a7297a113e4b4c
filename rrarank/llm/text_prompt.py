"""A prompt about one passage: a YAML file with a body, filled in once a question."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Set
from dataclasses import asdict, dataclass
from pathlib import Path
from string import Formatter
from typing import ClassVar

from rrarank.errors import RrarankError, shown
from rrarank.storage.yaml_settings import checked, read_yaml, shipped_or_file


@dataclass(frozen=True)
class TextPrompt:
    """A prompt: its body contains placeholders; doubled braces are literal."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    body: str
    system_message: str = ""

    @property
    def sha256(self) -> str:
        """The hash of the texts, not of the file: comments do not matter."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def load_text_prompt(name: str | Path, kind: str, placeholders: Set[str]) -> TextPrompt:
    """A shipped prompt by its name, or a YAML file with the keys `body` and, optionally, `system_message`.

    Args:
        kind: folder of the shipped prompts, such as `query-prompts`.
        placeholders: those that the body must contain.

    Raises:
        RrarankError: no such prompt, not YAML, unknown keys, or a body with other placeholders.
    """
    prompt = checked(TextPrompt, _keys(read_yaml(shipped_or_file(name, kind))), str(name))
    if (found := _placeholders(prompt.body, name)) != placeholders:
        seen = shown(f"{{{placeholder}}}" for placeholder in sorted(found)) or "no placeholder"
        expected = " and ".join(f"{{{placeholder}}}" for placeholder in sorted(placeholders))
        raise RrarankError(f"{name}: the body contains {seen}, expected {expected} alone")
    return prompt


def _keys(content: Mapping[str, object]) -> Mapping[str, object]:
    """The keys as ours: UMBRELA's files call the body `prefix_user`, and repeat their own name as `method`."""
    if "prefix_user" not in content:
        return content
    return {"body": content["prefix_user"]} | {
        key: value for key, value in content.items() if key not in ("prefix_user", "method")
    }


def _placeholders(body: str, where: str | Path) -> set[str]:
    try:
        parts = [part for part in Formatter().parse(body) if part[1] is not None]
    except ValueError as error:
        raise RrarankError(f"{where}: body: {error}; double literal braces") from error
    return {
        f"{name}{(conversion and f'!{conversion}') or ''}{spec and f':{spec}'}" for _, name, spec, conversion in parts
    }
