"""How a model's texts become tokens and its outputs a score, kept beside an export.

With it an exported model needs neither torch nor transformers: only tokenizers, and what runs the exported file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tokenizers import Tokenizer

from rrarank.engine.batches import Ids
from rrarank.errors import RrarankError
from rrarank.extras import check_installed
from rrarank.rerankers.backends.exported import FILES, LIBRARIES, export_padding_id
from rrarank.rerankers.checkpoints import Checkpoint, additions, capped, label_names, longest_input, positions
from rrarank.rerankers.pairs import PairEncoder, Template, find_template
from rrarank.storage.files import read_json
from rrarank.storage.model_folders import ENCODER, fingerprint

FORMAT = "rrarank.encoder/2"
_ODD = [
    "don't U.S.A. 3.14 #a_b-c",
    "",
    " ",
    "x" * 500,
    "tea " * 600,
    "\u00e9 e\u0301 \u1e9e \ufb01 \u0130",  # composed, decomposed, ligature, dotted capital
    "\u65e5\u672c\u8a9e \ud55c\uad6d\uc5b4 \u0e44\u0e17\u0e22",  # Japanese, Korean, Thai
    "\U0001f408\u200d\u2b1b\ufe0f a\u00adb\u200bc\ufffd",  # joined emoji, soft hyphen, zero-width space
    "\u0000 \t\n\r \u2028",
    "[CLS] [SEP] [MASK] <s> </s> <pad> <unk> <mask>",
]


SingleEncoder = Callable[[list[str]], Sequence[Sequence[int]]]
"""Texts to the ids of each, cut to what the model reads."""


@dataclass(frozen=True)
class Reading:
    """What is known of a model beside its graph.

    Args:
        tokenizer: of its texts, in JSON.
        longest: tokens of a pair, if nothing else is asked for.
        positions: the most tokens of a pair.
        fill: the id that pads.
        left: pad on the left.
        labels: names of its one or two outputs; of no use to a sparse encoder.
    """

    tokenizer: str
    template: Template
    longest: int
    positions: int
    fill: int
    left: bool
    labels: Sequence[str]

    def most(self, asked: int, name: str) -> int:
        """The most tokens of a pair, as `Checkpoint.longest` gives it."""
        return capped(asked, self.positions, name) if asked else self.longest

    def encoder(self, longest: int) -> PairEncoder:
        """The encoder of pairs, without transformers."""
        return PairEncoder(_Fast(self._fast()), longest, self.template)

    def single_encoder(self, longest: int) -> SingleEncoder:
        """The encoder of single texts, without transformers."""
        return encode_singly(self._fast(), longest)

    def _fast(self) -> Tokenizer:
        try:
            return Tokenizer.from_str(self.tokenizer)
        except Exception as error:  # tokenizers has no class of its own
            raise RrarankError(f"{ENCODER}: its tokenizer cannot be read; export the model again") from error


def encode_singly(tokenizer: Tokenizer, longest: int, side: str = "right") -> SingleEncoder:
    """An encoder of single texts that does not note where in the text a token stands, which takes a third of the time.

    Args:
        side: where texts are cut.
    """
    tokenizer.no_padding()
    tokenizer.enable_truncation(longest, direction=side)
    return lambda texts: [encoding.ids for encoding in tokenizer.encode_batch_fast(texts)]


@dataclass(frozen=True)
class _Fast:
    """The part of a tokenizer of transformers' that `PairEncoder` uses when it is given a template."""

    backend_tokenizer: Tokenizer


def keep_reading(checkpoint: Checkpoint, folder: Path) -> None:
    """Write the checkpoint's reading into a copy of its folder, if pairs encoded by it are those of transformers."""
    if reading := _reading_of(checkpoint):
        kept = {"format": FORMAT, "files": fingerprint(folder, weights=False), **asdict(reading)}
        (folder / ENCODER).write_text(json.dumps(kept) + "\n", "utf-8")


def export_reading(folder: Path, backend: str) -> Reading | None:
    """The reading kept beside an export, with which it runs without torch; None for torch, or where none is kept.

    Raises:
        MissingPrerequisite: the back end's library is not installed.
    """
    if backend not in FILES:
        return None
    check_installed(LIBRARIES[backend])
    return kept_reading(folder)


def kept_reading(folder: Path) -> Reading | None:
    """The reading kept in a folder; None if there is none, or tokenizer or configuration have changed since."""
    kept = read_json(folder / ENCODER)
    try:
        if kept.pop("format") != FORMAT or kept.pop("files") != fingerprint(folder, weights=False):
            return None
        return Reading(**kept | {"template": Template(**kept["template"])})
    except (AttributeError, KeyError, TypeError):
        return None


def _reading_of(checkpoint: Checkpoint) -> Reading | None:
    """None where pairs are more than the ids of two texts within a template."""
    tokenizer, config = checkpoint.tokenizer, checkpoint.config
    template = None if additions(checkpoint) else find_template(tokenizer)
    if template is None:
        return None
    reading = Reading(
        tokenizer.backend_tokenizer.to_str(),
        template,
        longest_input(tokenizer, config),
        positions(config),
        export_padding_id(config, tokenizer),
        tokenizer.padding_side == "left",
        label_names(config, checkpoint.name),
    )
    encoders = (reading.encoder(reading.longest), PairEncoder(tokenizer, reading.longest))
    ours, theirs = ([_lists(pair) for query in _ODD[:5] for pair in encode(query, _ODD)] for encode in encoders)
    return reading if ours == theirs else None


def _lists(pair: Ids) -> dict[str, list[int]]:
    return {name: list(values) for name, values in pair.items()}
