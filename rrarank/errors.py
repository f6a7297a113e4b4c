"""What a user is told: errors, each one line on stderr and an exit code, and messages.

Every message says where, what was seen, what was expected and what to do.
"""

import difflib
import logging
import unicodedata
from collections.abc import Iterable, Sequence


class RrarankError(Exception):
    """Bad input or usage."""

    exit_code = 2


class MissingPrerequisite(RrarankError):
    """Something this machine lacks: Java, an extra."""

    exit_code = 3


class MissingResource(RrarankError):
    """Something that is neither on disk nor within reach: a model, a data set."""

    exit_code = 4


class PartialSuccess(RrarankError):
    """Some of the work could not be done; what was done is kept.

    Args:
        written: paths of the files that were written.
    """

    exit_code = 7

    def __init__(self, message: str, written: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.written = written


def shown(things: Iterable[object], limit: int = 5) -> str:
    """The first few of many, for a message: `'a', 'b' and 3 more`."""
    listed = list(things)
    head = ", ".join(repr(thing) for thing in listed[:limit])
    rest = len(listed) - limit
    return f"{head} and {rest:,} more" if rest > 0 else head


def counted(number: int, one: str, several: str) -> str:
    """`1 query`, `2 queries`."""
    return f"{number:,} {one if number == 1 else several}"


def printable(text: str) -> str:
    """The text without control characters, which could change what a terminal shows."""
    return "".join(letter if is_shown(letter) else "?" for letter in text)


def is_shown(letter: str) -> bool:
    """Whether a terminal shows a character and does nothing else; spaces of all kinds are shown."""
    return letter.isprintable() or unicodedata.category(letter) == "Zs"


_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "failed to map segment",
    "can't start new thread",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out. torch, the loader of libraries and threads say it in a text."""
    return isinstance(error, MemoryError) or any(text in str(error).lower() for text in _MEMORY)


def did_you_mean(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """`; did you mean 'rra-bert'?` for a name close to a known one, else nothing."""
    close = difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=cutoff)
    return f"; did you mean {close[0]!r}?" if close else ""


def say(line: str) -> None:
    """Log a message. Commands show it on stderr; in Python, configure the logger `rrarank` to see it."""
    logging.getLogger("rrarank").info(line)


def warn(line: str) -> None:
    """Log what a caller should not miss. Python shows it on stderr, unless logging is configured otherwise."""
    logging.getLogger("rrarank").warning(line)
