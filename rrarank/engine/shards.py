"""Parts of a run for several machines: whole blocks of consecutive queries, so that the parts joined in order equal the
output of one job."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice

from rrarank.data.types import Run
from rrarank.errors import RrarankError


@dataclass(frozen=True)
class Shard:
    """Part `number` of `of`, counted from 1."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Parse `2/4`.

        Raises:
            RrarankError: the text has another form, or the number is out of range.
        """
        found = re.fullmatch("([0-9]{1,6})/([0-9]{1,6})", text)
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            raise RrarankError(f"shard {text!r}: expected NUMBER/OF, from 1/OF to OF/OF, such as 2/4")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @property
    def suffix(self) -> str:
        """The suffix of its file: `.2-of-4`."""
        return f".{self.number}-of-{self.of}"

    def part(self, run: Run, block_size: int) -> Run:
        """Its queries, in whole blocks; the parts differ by at most one block, and may be empty."""
        blocks = -(-len(run) // block_size)
        first, end = (place * blocks // self.of * block_size for place in (self.number - 1, self.number))
        return Run({qid: run[qid] for qid in islice(run, first, end)}, run.tag)
