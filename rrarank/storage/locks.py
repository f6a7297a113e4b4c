"""One writer at a time: a lock beside the output, released however the process ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rrarank.errors import RrarankError


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold `.<name>.lock` beside `path` while the block runs.

    Raises:
        RrarankError: another job holds it, or the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    lock_file = path.with_name(f".{path.name}.lock")
    try:
        lock_file.parent.mkdir(parents=True, exist_ok=True)
        held = FileLock(lock_file, blocking=False, thread_local=False).acquire()
    except Timeout:
        raise RrarankError(f"{path}: another job is at work on it; wait for that, or give another --output") from None
    except OSError as error:
        raise RrarankError(f"{path}: cannot be written ({error.strerror})") from error
    with held:
        try:
            yield
        finally:
            lock_file.unlink(missing_ok=True)  # while holding it, so that a waiting process sees that it is gone
