"""(query, text) pairs as token ids: each text is tokenized once, and pairs are built from the ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from rrarank.engine.batches import Ids
from rrarank.errors import RrarankError

CHARACTERS = 16  # of a text that are tokenized first, for each token that a pair can hold
SPARE = 128  # tokens: a word that is broken off has at most 100 in WordPiece, one a letter
KEPT_CHARACTERS = 16_000_000  # of texts whose ids are cached: about ten megabytes of ids


class Encoder(Protocol):
    """(query, texts) to the ids of each pair."""

    cut: int  # pairs that were too long

    def __call__(self, query: str, texts: Sequence[str]) -> list[Ids]: ...


class PairEncoder:
    """`tokenizer(query, text, truncation="longest_first")`, as sentence-transformers' CrossEncoder calls it.

    Nearly all fast tokenizers build a pair from the ids of its two texts. Then each text is tokenized once and cached;
    of a very long text, only a beginning that fills a pair. Otherwise each pair is tokenized as a whole.

    Args:
        template: the tokens around the two texts; None takes the tokenizer's own (see `prompt_template`).
        plain: a special token that a text spells, such as `<|im_end|>`, is read as other words are.
        shares: add `shared`, (1,), to each pair: the number of tokens before the text.

    Raises:
        RrarankError: `max_length` leaves no room for two texts.
    """

    def __init__(
        self,
        tokenizer: Any,
        max_length: int,
        template: Template | None = None,
        *,
        plain: bool = False,
        shares: bool = False,
    ) -> None:
        self._tokenizer = tokenizer
        self._plain = plain
        self._special = special_ids(tokenizer) if plain else []
        self._shares = shares
        self._max_length = max_length
        self._template = template or find_template(tokenizer)
        own = self._template.size if self._template else tokenizer.num_special_tokens_to_add(pair=True)
        if max_length < own + 2:
            what = "the prompt alone has" if template and template.is_prompt else "the special tokens of a pair are"
            raise RrarankError(f"max_length is {max_length}: {what} {own} tokens; give {own + 2} or more")
        self.cut = 0
        self._known: dict[str, np.ndarray] = {}
        self._characters = 0

    def __call__(self, query: str, texts: Sequence[str]) -> list[Ids]:
        """The ids of each (query, text): `input_ids` and, if the tokenizer gives segments, `token_type_ids`."""
        if not texts:
            return []
        if self._template is None:
            rows = self._tokenizer(
                [query] * len(texts),
                list(texts),
                truncation="longest_first",
                max_length=self._max_length,
                split_special_tokens=self._plain,
            )
            names = [name for name in rows if name != "attention_mask"]
            self.cut += sum(len(ids) >= self._max_length for ids in rows["input_ids"])
            return [{name: rows[name][i] for name in names} for i in range(len(texts))]
        asked, *found = self._ids([query, *texts])
        self.cut += sum(len(asked) + len(ids) + self._template.size > self._max_length for ids in found)
        return [self._template.pair(asked, ids, self._max_length, shares=self._shares) for ids in found]

    def _ids(self, texts: Sequence[str]) -> list[np.ndarray]:
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if self._characters > KEPT_CHARACTERS:
            self._known, self._characters, new = {}, 0, list(dict.fromkeys(texts))
        lead = self._template.lead if self._template else ""
        with reading_plainly(self._tokenizer) if self._plain else nullcontext():
            found = beginnings(self._tokenizer, [lead + text for text in new], self._max_length + SPARE)
        if self._plain:  # Unigram models, as T5's, have `</s>` among their words too
            found = [ids[~np.isin(ids, self._special)] for ids in found]
        self._known.update(zip(new, found, strict=True))
        self._characters += sum(map(len, new))
        return [self._known[text] for text in texts]


def special_ids(tokenizer: Any) -> list[int]:
    """The ids of the special tokens, except of the one for unknown words."""
    added = tokenizer.added_tokens_decoder.items()
    return [number for number, token in added if token.special and number != tokenizer.unk_token_id]


@contextmanager
def reading_plainly(tokenizer: Any) -> Iterator[None]:
    """Have a tokenizer split special tokens that a text spells, as it splits other words."""
    backend = tokenizer.backend_tokenizer
    backend.encode_special_tokens, before = True, backend.encode_special_tokens
    try:
        yield
    finally:
        backend.encode_special_tokens = before


def beginnings(tokenizer: Any, texts: Sequence[str], enough: int) -> list[np.ndarray]:
    """The ids of each text; of a long one, those of a beginning that has at least so many, the last word broken off."""
    found: dict[int, np.ndarray] = {}
    left, size = list(range(len(texts))), CHARACTERS * enough
    while left:
        found.update(zip(left, tokenise(tokenizer, [texts[place][:size] for place in left]), strict=True))
        left = [place for place in left if len(texts[place]) > size and len(found[place]) < enough]
        size *= 4
    return [found[place] for place in range(len(texts))]


def tokenise(tokenizer: Any, texts: Sequence[str]) -> Iterable[np.ndarray]:
    """The ids of each text alone, not truncated, without special tokens."""
    encodings = tokenizer.backend_tokenizer.encode_batch_fast(texts, add_special_tokens=False) if texts else []
    return (np.array(encoding.ids, dtype=np.int32) for encoding in encodings)


@dataclass(frozen=True)
class Template:
    """The tokens before, between and after the two texts, and segments if the tokenizer gives them.

    Args:
        lead: put before each text when it is tokenized, such as the space after a prompt's `Query:`.
        is_prompt: it holds a prompt, not only special tokens.
    """

    before: Sequence[int]
    between: Sequence[int]
    behind: Sequence[int]
    segments: tuple[Sequence[int], int, Sequence[int], int, Sequence[int]] | None = None
    lead: str = ""
    is_prompt: bool = False

    @property
    def size(self) -> int:
        """Its number of tokens, without the two texts."""
        return len(self.before) + len(self.between) + len(self.behind)

    def pair(self, query: np.ndarray, text: np.ndarray, max_length: int, *, shares: bool = False) -> Ids:
        room = max_length - self.size
        kept_query, kept_text = longest_first(len(query), len(text), room)
        query, text = query[:kept_query], text[:kept_text]
        ids = {"input_ids": _joined(self.before, query, self.between, text, self.behind)}
        if self.segments:
            before, of_query, between, of_text, behind = self.segments
            kinds = (before, np.full(len(query), of_query), between, np.full(len(text), of_text), behind)
            ids["token_type_ids"] = _joined(*kinds)
        if shares:
            ids["shared"] = np.array([len(self.before) + len(query) + len(self.between)])
        return ids


def _joined(*parts: Sequence[int] | np.ndarray) -> np.ndarray:
    return np.concatenate(parts, dtype=np.int32, casting="unsafe")  # an empty list would turn all into floats


def longest_first(first: int, second: int, room: int) -> tuple[int, int]:
    """How many tokens of two texts to keep: cut the longer one until both are equal, as Hugging Face tokenizers do."""
    if first + second <= room:
        return first, second
    shorter, longer = sorted((first, second))
    longer = shorter if shorter > room else max(shorter, room - shorter)
    if shorter + longer > room:
        shorter, longer = room // 2, room // 2 + room % 2
    return (longer, shorter) if first > second else (shorter, longer)


def prompt_template(tokenizer: Any, prompt: str) -> Template:
    """The template of a prompt with `{query}` and, after it, `{document}`. A space before either belongs to it.

    Raises:
        RrarankError: the prompt does not contain both, or has a space before only one of them.
    """
    before, found, rest = prompt.partition("{query}")
    between, found_too, behind = rest.partition("{document}")
    if not found or not found_too or before.endswith(" ") != between.endswith(" "):
        raise RrarankError(
            f"prompt {prompt!r:.60}: expected {{query}} and then {{document}}, with a space before both or neither"
        )
    lead = " " if before.endswith(" ") else ""
    parts = [list(ids) for ids in tokenise(tokenizer, [before.removesuffix(" "), between.removesuffix(" "), behind])]
    [inner] = tokenise(tokenizer, ["x"])
    whole = tokenizer("x")["input_ids"]  # with the tokenizer's special tokens
    at = _find(whole, list(inner), 0)
    behind = parts[2] + whole[at + len(inner) :]
    return Template(whole[:at] + parts[0], parts[1], behind, lead=lead, is_prompt=True)


_PROBES = [("what is a cat", "a long story"), ("one two three four five six", "seven"), ("x", "y z")]


def find_template(tokenizer: Any) -> Template | None:
    """The tokenizer's own template, if one is found that gives the right ids for every probe."""
    if not getattr(tokenizer, "is_fast", False) or tokenizer.truncation_side != "right":
        return None
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    template = _read_template(tokenizer, *_PROBES[0])
    return template if template and all(_holds(template, tokenizer, *probe) for probe in _PROBES) else None


def _read_template(tokenizer: Any, query: str, text: str) -> Template | None:
    first, second = (list(ids) for ids in tokenise(tokenizer, [query, text]))
    row = tokenizer(query, text)
    whole, kinds = row["input_ids"], row.get("token_type_ids")
    at = _find(whole, first, 0)
    then = _find(whole, second, at + len(first)) if at >= 0 else -1
    if then < 0 or not first or not second:
        return None
    cuts = (slice(0, at), slice(at + len(first), then), slice(then + len(second), None))
    before, between, behind = (whole[cut] for cut in cuts)
    segments = kinds and (kinds[cuts[0]], kinds[at], kinds[cuts[1]], kinds[then], kinds[cuts[2]])
    return Template(before, between, behind, segments)


def _find(ids: Sequence[int], part: Sequence[int], start: int) -> int:
    places = (i for i in range(start, len(ids) - len(part) + 1) if list(ids[i : i + len(part)]) == list(part))
    return next(places, -1)


def _holds(template: Template, tokenizer: Any, query: str, text: str) -> bool:
    row = tokenizer(query, text)
    first, second = tokenise(tokenizer, [query, text])
    made = template.pair(first, second, len(row["input_ids"]))
    return all(list(values) == list(row[name]) for name, values in made.items())
