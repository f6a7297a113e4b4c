"""Parts of a run for several machines: whole blocks of queries, one after another, so that what the parts give, joined
in their order, is what one job would have given."""

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
        """Of `2/4`.

        Raises:
            RrarankError: it is not so written, or the number is not one of them.
        """
        found = re.fullmatch("([0-9]{1,6})/([0-9]{1,6})", text)
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            raise RrarankError(f"shard {text!r}: expected NUMBER/OF, from 1/OF to OF/OF, such as 2/4")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @property
    def suffix(self) -> str:
        """Of a file that holds it: `.2-of-4`."""
        return f".{self.number}-of-{self.of}"

    def part(self, run: Run, block_size: int) -> Run:
        """Its queries: whole blocks, as many as in the other parts or one more; none if there are too few."""
        blocks = -(-len(run) // block_size)
        first, end = (place * blocks // self.of * block_size for place in (self.number - 1, self.number))
        return Run({qid: run[qid] for qid in islice(run, first, end)}, run.tag)
