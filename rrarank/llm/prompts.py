"""Prompts for list-wise ranking: YAML files with rank_llm's keys, filled in and cut to fit a context."""

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

from rrarank.data.words import word_pieces
from rrarank.errors import RrarankError, shown
from rrarank.storage.yaml_settings import read_yaml, shipped_or_file

LISTWISE = ("listwise", "singleturn_listwise", "multiturn_listwise")  # rank_llm's names; the first is its older one
SETWISE = ("setwise",)
METHODS = {LISTWISE: ("a list-wise one", "prompts"), SETWISE: ("a set-wise one", "setwise-prompts")}
ELSEWHERE = {"pointwise": "pointwise-llm", "pairwise": "pairwise-llm", "setwise": "setwise-llm"}
PLACEHOLDERS = ("num", "query", "rank", "candidate", "score", "psg_ids")
MOST_LETTERS = 26  # passages that can be named A to Z
FEWEST_TOKENS = 8  # of a passage; fewer cannot be judged
MESSAGE_TOKENS = 8  # a high estimate of what a chat template adds to a message
_CONTROL = re.compile(  # of the common chat templates, and thought and answer tags
    r"<[|｜][^<>|｜]{1,40}[|｜]>|\[\|[^\[\]|]{1,40}\|\]|</?(?:start|end)_of_[a-z]{1,20}>|<unused[0-9]{1,3}>|◁/?[a-z]{1,20}▷"
    r"|\[/?(?:INST|THINK|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\]|<</?SYS>>"
    r"|</?(?:s|bos|eos|pad|unk|answer|think|thinking|thought|reason|reasoning|analysis|reflection|tool_call|tool_response)>",
    re.IGNORECASE,
)
_LETTER = re.compile(r"\[([A-Z])\]")
_SLOT = re.compile(r"\{\{|\}\}|\{(\w+)\}")  # doubled braces are literal, as in rank_llm (str.format)
_CHARACTER = re.compile(  # kana, Chinese characters, Hangul: about a token each
    "[\u1100-\u11ff\u3040-\u30ff\u3130-\u318f\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff]"
)


@dataclass(frozen=True)
class Prompt:
    """A list-wise prompt; the `…_assistant` texts make it a dialogue of several turns.

    Args:
        letters: passages are named A, B, …, as a file says whose `output_extraction_regex` looks for letters.
    """

    method: str
    body: str
    system_message: str = ""
    prefix: str = ""
    suffix: str = ""
    prefix_assistant: str = ""
    body_assistant: str = ""
    letters: bool = False

    @property
    def sha256(self) -> str:
        """The hash of the texts, not of the file: comments and unused keys do not matter."""
        texts = {key: value for key, value in asdict(self).items() if key != "letters" or value}
        return hashlib.sha256(json.dumps(texts, sort_keys=True).encode()).hexdigest()


def load_prompt(name: str | Path, methods: Sequence[str] = LISTWISE) -> Prompt:
    """A shipped prompt by its name, or a YAML file with rank_llm's keys.

    Args:
        methods: those that will do: `LISTWISE` or `SETWISE`.

    Raises:
        RrarankError: no such prompt, not YAML, of another method, or a placeholder is missing or unknown.
    """
    expected, folder = METHODS[tuple(methods)]
    content = read_yaml(shipped_or_file(name, folder))
    if (method := content.get("method")) not in methods:
        other = f"; that is one for {ELSEWHERE[str(method)]}" if method in ELSEWHERE else ""
        raise RrarankError(f"{name}: method {method!r}, expected {expected} ({', '.join(methods)}){other}")
    prompt = _prompt(content, str(name))
    _check_placeholders(prompt, str(name))
    return prompt


def _prompt(content: Mapping[str, object], where: str) -> Prompt:
    """Read the keys of a list-wise prompt; in dialogues rank_llm names three of them `…_user`."""
    texts = {}
    for key in TEXTS:
        texts[key] = text_of(content.get(key, content.get(f"{key}_user")), key, where)
    if not texts["body"]:
        raise RrarankError(f"{where}: no key 'body' (or 'body_user'), the text of one passage; keys {shown(content)}")
    return Prompt(**texts, letters="A-Z" in str(content.get("output_extraction_regex", "")))


def text_of(value: object, key: str, where: str | Path) -> str:
    """The text of a key; empty for one that is not there."""
    if value is not None and not isinstance(value, str):
        raise RrarankError(f"{where}: key {key!r} is a {type(value).__name__}, expected text; quote it")
    return value or ""


def _check_placeholders(prompt: Prompt, where: str) -> None:
    slots = {key: placeholders(getattr(prompt, key)) for key in TEXTS}
    of_key = {"body_assistant": {"rank"}, "body": {"rank", "candidate", "score"}, "suffix": {"psg_ids"}}
    for key, names in slots.items():
        allowed = {"num", "query"} | of_key.get(key, set())
        if unknown := names - allowed:
            known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS if name in allowed)
            raise RrarankError(f"{where}: {key} contains the unknown placeholder {{{min(unknown)}}} (known: {known})")
    for name, keys in {"rank": ["body"], "candidate": ["body"], "query": [*slots]}.items():
        if not any(name in slots[key] for key in keys):
            place = "body" if keys == ["body"] else "prefix or suffix"
            raise RrarankError(f"{where}: the {place} lacks {{{name}}}; the model would not see it")


TEXTS = tuple(key for key in Prompt.__dataclass_fields__ if key != "letters")


def placeholders(text: str) -> set[str]:
    """The names in braces."""
    return {name for name in _SLOT.findall(text) if name}


# -- filling ----------------------------------------------------------------------------------------------------------


def messages(prompt: Prompt, query: str, passages: Sequence[str], scores: Sequence[float] = ()) -> list[dict[str, str]]:
    """The prompt as chat messages of `role` and `content`, with query and passages neutralised.

    Args:
        scores: of the passages, for a prompt that shows them.
    """
    ids = [chr(ord("A") + place) if prompt.letters else str(place + 1) for place in range(len(passages))]
    named = ", ".join(f"PASSAGE{one}" for one in ids)  # as rank_llm writes them for LRL
    common = {"num": str(len(passages)), "query": neutralise(query), "psg_ids": f"[{named}]"}
    turns = [("system", prompt.system_message), ("user", prompt.prefix), ("assistant", prompt.prefix_assistant)]
    turns = [(role, fill(text, common)) for role, text in turns]
    for rank, passage, score in zip(ids, passages, scores or [0.0] * len(passages), strict=True):
        text = neutralise(passage)
        text = _LETTER.sub(r"(\1)", text) if prompt.letters else text
        values = common | {"rank": rank, "candidate": text, "score": f"{score:.3f}"}
        turns += [("user", fill(prompt.body, values)), ("assistant", fill(prompt.body_assistant, values))]
    turns.append(("user", fill(prompt.suffix, common)))
    said = groupby((turn for turn in turns if turn[1]), key=lambda turn: turn[0])
    return [{"role": role, "content": _joined([text for _, text in texts])} for role, texts in said]


def neutralise(text: str) -> str:
    """The text on one line, without bracketed numbers, which look like passage ids, and control tokens of chats:
    `[3]` becomes `(3)`, `<|im_end|>` becomes `(im_end)`."""
    text = _CONTROL.sub(lambda found: f"({found[0].strip('<|>[]/｜◁▷ ')})", " ".join(text.split()))
    return re.sub(r"[\[【［]((?=[ ,;>–-]*\d)[\d ,;>–-]+)[\]】］]", r"(\1)", text)


def fill(template: str, values: Mapping[str, str]) -> str:
    """Fill in one pass, so that braces inside a value stay unchanged."""
    return _SLOT.sub(lambda slot: values[slot[1]] if slot[1] else slot[0][0], template)


def _joined(texts: Sequence[str]) -> str:
    """Join the texts, each on its own line even if the template lacks the line break."""
    joined = texts[0]
    for text in texts[1:]:
        joined += text if joined.endswith("\n") or text.startswith("\n") else f"\n{text}"
    return joined


# -- cutting ----------------------------------------------------------------------------------------------------------


def estimate_tokens(text: str) -> int:
    """Estimate the tokens without a tokenizer: one per Chinese character, kana or Hangul, 1.33 per other word, and at
    least one per four letters, for other scripts without spaces."""
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
    scores: Sequence[float] = (),
) -> list[str]:
    """Neutralise the passages and cut each to `longest` tokens, or all to a lower limit if the prompt exceeds `budget`.

    Args:
        budget: tokens of the whole prompt: the context without the longest answer.

    Raises:
        RrarankError: more passages than there are letters, for a prompt that names them by letters.
        RrarankError: they do not fit even when cut to a few tokens each.
    """
    if prompt.letters and len(passages) > MOST_LETTERS:
        raise RrarankError(f"{len(passages)} passages in a prompt that names them A to Z; show at most {MOST_LETTERS}")
    texts = [neutralise(passage) for passage in passages]

    def cut_all(limit: int) -> list[str]:
        return [cut(text, limit, count_tokens) for text in texts]

    def too_long(limit: int) -> bool:
        filled = messages(prompt, query, cut_all(limit), scores)
        return sum(count_tokens(message["content"]) + MESSAGE_TOKENS for message in filled) > budget

    if not too_long(longest):
        return cut_all(longest)
    if too_long(FEWEST_TOKENS):
        raise RrarankError(
            f"a prompt of {len(passages)} passages does not fit in {budget:,} tokens, "
            f"even with {min(longest, FEWEST_TOKENS)} tokens a passage; show fewer passages, or give a longer context"
        )
    limits = range(FEWEST_TOKENS, longest)
    return cut_all(limits[bisect_left(limits, True, key=too_long) - 1])


def cut(text: str, limit: int, count_tokens: Callable[[str], int] = estimate_tokens) -> str:
    """The first whole words of the text, at most `limit` tokens; letters if no word fits."""
    if count_tokens(text) <= limit:
        return text
    for pieces in (word_pieces(text), list(text)):
        ends = range(1, len(pieces) + 1)
        fitting = bisect_left(ends, True, key=lambda end: count_tokens("".join(pieces[:end])) > limit)
        if fitting:
            return "".join(pieces[:fitting]).strip()
    return ""
