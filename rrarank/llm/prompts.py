"""Prompts for list-wise ranking: files in rank_llm's keys, filled, and cut to fit a context."""

from __future__ import annotations

import hashlib
import json
import math
import re
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

from rrarank.errors import RrarankError, shown
from rrarank.storage.yaml_settings import read_yaml, shipped_or_file

METHODS = ("listwise", "singleturn_listwise", "multiturn_listwise")  # rank_llm's names, the first one older
PLACEHOLDERS = ("num", "query", "rank", "candidate")
FEWEST_TOKENS = 8  # of a passage: less cannot be judged
MESSAGE_TOKENS = 8  # what a chat template adds to a message, an estimate on the safe side
_SLOT = re.compile(r"\{\{|\}\}|\{(\w+)\}")  # doubled braces are literal, as in rank_llm (str.format)
UNSPACED = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # kana and Chinese characters
_HANGUL = r"\u1100-\u11ff\u3130-\u318f\uac00-\ud7af"
_CHARACTER = re.compile(f"[{UNSPACED}{_HANGUL}]")
_WORD = re.compile(rf"\s*(?:[{UNSPACED}]|[^\s{UNSPACED}]+)")


@dataclass(frozen=True)
class Prompt:
    """A list-wise template; with an `…_assistant` text it is a dialogue of several turns."""

    method: str
    body: str
    system_message: str = ""
    prefix: str = ""
    suffix: str = ""
    prefix_assistant: str = ""
    body_assistant: str = ""

    @property
    def sha256(self) -> str:
        """Of what is said, not of the file: comments and unused keys do not count."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def load_prompt(name: str | Path) -> Prompt:
    """A prompt that ships with the package, by its bare name, or one from a YAML file in rank_llm's keys.

    Raises:
        RrarankError: no such prompt, not YAML, not list-wise, or a placeholder that is absent or not known.
    """
    prompt = _prompt(read_yaml(shipped_or_file(name, "prompts")), str(name))
    _check_placeholders(prompt, str(name))
    return prompt


def _prompt(content: Mapping[str, object], where: str) -> Prompt:
    """Only the keys of a list-wise prompt; rank_llm calls three of them `…_user` in dialogues."""
    if (method := content.get("method")) not in METHODS:
        raise RrarankError(f"{where}: method {method!r}, expected a list-wise one ({', '.join(METHODS)})")
    texts = {}
    for key in Prompt.__dataclass_fields__:
        text = content.get(key, content.get(f"{key}_user"))
        if text is not None and not isinstance(text, str):
            raise RrarankError(f"{where}: key {key!r} is a {type(text).__name__}, expected text; put it in quotes")
        texts[key] = text or ""
    if not texts["body"]:
        raise RrarankError(f"{where}: no key 'body' (or 'body_user'), the text of one passage; keys {shown(content)}")
    return Prompt(**texts)


def _check_placeholders(prompt: Prompt, where: str) -> None:
    slots = {key: {name for name in _SLOT.findall(text) if name} for key, text in asdict(prompt).items()}
    for key, names in slots.items():
        passage = {"rank"} if key == "body_assistant" else {"rank", "candidate"} if key == "body" else set()
        if unknown := names - {"num", "query"} - passage:
            known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS if name in passage | {"num", "query"})
            raise RrarankError(f"{where}: {key} holds {{{min(unknown)}}}, which nothing fills there (known: {known})")
    for name, keys in {"rank": ["body"], "candidate": ["body"], "query": [*slots]}.items():
        if not any(name in slots[key] for key in keys):
            place = "body" if keys == ["body"] else "prefix or suffix"
            raise RrarankError(f"{where}: {{{name}}} is nowhere in the {place}; the model would not see it")


# -- filling ----------------------------------------------------------------------------------------------------------


def messages(prompt: Prompt, query: str, passages: Sequence[str]) -> list[dict[str, str]]:
    """The prompt as chat messages of `role` and `content`; query and passages are neutralised."""
    common = {"num": str(len(passages)), "query": neutralise(query)}
    turns = [("system", prompt.system_message), ("user", prompt.prefix), ("assistant", prompt.prefix_assistant)]
    turns = [(role, _fill(text, common)) for role, text in turns]
    for rank, passage in enumerate(passages, start=1):
        values = common | {"rank": str(rank), "candidate": neutralise(passage)}
        turns += [("user", _fill(prompt.body, values)), ("assistant", _fill(prompt.body_assistant, values))]
    turns.append(("user", _fill(prompt.suffix, common)))
    said = groupby((turn for turn in turns if turn[1]), key=lambda turn: turn[0])
    return [{"role": role, "content": _joined([text for _, text in texts])} for role, texts in said]


def neutralise(text: str) -> str:
    """The text on one line and without a number in brackets, which an answer could take for an id: `[3]` -> `(3)`."""
    return re.sub(r"[\[【［]((?=[ ,;>–-]*\d)[\d ,;>–-]+)[\]】］]", r"(\1)", " ".join(text.split()))


def _fill(template: str, values: Mapping[str, str]) -> str:
    """One pass, so that braces inside a value stay as they are."""
    return _SLOT.sub(lambda slot: values[slot[1]] if slot[1] else slot[0][0], template)


def _joined(texts: Sequence[str]) -> str:
    """The texts, each on a line of its own though its template may forget the break."""
    joined = texts[0]
    for text in texts[1:]:
        joined += text if joined.endswith("\n") or text.startswith("\n") else f"\n{text}"
    return joined


# -- cutting ----------------------------------------------------------------------------------------------------------


def estimate_tokens(text: str) -> int:
    """A guess without a tokenizer: Chinese characters, kana and Hangul count one each, other words 1.33, but no less
    than a token for four letters, as in other scripts without spaces."""
    rest, characters = _CHARACTER.subn(" ", text)
    words = rest.split()
    return characters + math.ceil(max(1.33 * len(words), sum(map(len, words)) / 4))


def fit(
    prompt: Prompt,
    query: str,
    passages: Sequence[str],
    *,
    budget: int,
    longest: int,
    count_tokens: Callable[[str], int] = estimate_tokens,
) -> list[str]:
    """The passages, neutralised, each cut to `longest` tokens; all to one lower limit if the prompt exceeds `budget`.

    Args:
        budget: tokens for the whole prompt; the context less the longest answer.

    Raises:
        RrarankError: they do not fit though cut to a few tokens each.
    """
    texts = [neutralise(passage) for passage in passages]

    def cut_all(limit: int) -> list[str]:
        return [cut(text, limit, count_tokens) for text in texts]

    def too_long(limit: int) -> bool:
        filled = messages(prompt, query, cut_all(limit))
        return sum(count_tokens(message["content"]) + MESSAGE_TOKENS for message in filled) > budget

    if not too_long(longest):
        return cut_all(longest)
    if too_long(FEWEST_TOKENS):
        raise RrarankError(
            f"a prompt of {len(passages)} passages does not fit in {budget:,} tokens, "
            f"even with {min(longest, FEWEST_TOKENS)} tokens a passage; show fewer, or give a longer context"
        )
    limits = range(FEWEST_TOKENS, longest)
    return cut_all(limits[bisect_left(limits, True, key=too_long) - 1])


def cut(text: str, limit: int, count_tokens: Callable[[str], int] = estimate_tokens) -> str:
    """The beginning of the text, at most `limit` tokens, whole words; letters if not even one word fits."""
    if count_tokens(text) <= limit:
        return text
    for pieces in (_WORD.findall(text), list(text)):
        ends = range(1, len(pieces) + 1)
        fitting = bisect_left(ends, True, key=lambda end: count_tokens("".join(pieces[:end])) > limit)
        if fitting:
            return "".join(pieces[:fitting]).strip()
    return ""
