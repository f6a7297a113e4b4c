"""What a user can cause: each error is one line on stderr and an exit code.

Every message says where, what was seen, what was expected and what to do.
"""

from collections.abc import Iterable


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
    """Some of the work could not be done; what was done is kept."""

    exit_code = 7


def shown(things: Iterable[object], limit: int = 5) -> str:
    """The first few of many, for a message: `'a', 'b' and 3 more`."""
    listed = list(things)
    head = ", ".join(repr(thing) for thing in listed[:limit])
    rest = len(listed) - limit
    return f"{head} and {rest:,} more" if rest > 0 else head
