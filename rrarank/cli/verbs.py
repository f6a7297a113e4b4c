"""What every verb shares: one-line errors, exit codes, messages, the journal of a job."""

from __future__ import annotations

import argparse
import codecs
import io
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from rrarank.errors import PartialSuccess, RrarankError, is_out_of_memory, say
from rrarank.storage.files import FULL, is_file
from rrarank.storage.journal import Journal, journal_path
from rrarank.storage.leftovers import remove_leftovers
from rrarank.storage.locks import lock
from rrarank.storage.sidecar import sidecar_path

Arguments = Sequence[str] | None

INTERRUPTED = 130  # 128 + SIGINT, as in shells
CLOSED_PIPE = 141  # 128 + SIGPIPE
TERMINATED = 143  # 128 + SIGTERM


_LOG = logging.getLogger("rrarank")


_AS_NAMED = "rrarank.as_named"
"""Errors handler of stdout: what its encoding cannot hold is written as in file names, so that any name prints."""


def _as_named(error: UnicodeError) -> tuple[bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return os.fsencode(error.object[error.start : error.end]), error.end


codecs.register_error(_AS_NAMED, _as_named)


class Terminated(KeyboardInterrupt):
    """SIGTERM, which schedulers send; it ends a job as Ctrl-C does."""


def run_verb(verb: Callable[[argparse.Namespace], None], parser: argparse.ArgumentParser, arguments: Arguments) -> int:
    """Parse the flags and run the verb. A user's error becomes one line and an exit code; a bug keeps its traceback."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors=_AS_NAMED)
    with _messages_on_stderr():
        return _run(verb, parser, arguments)


def _run(verb: Callable[[argparse.Namespace], None], parser: argparse.ArgumentParser, arguments: Arguments) -> int:
    try:
        with _terminable():
            verb(parser.parse_args(arguments))
        if sys.stdout is not None:
            sys.stdout.flush()
    except RrarankError as error:
        for path in error.written if isinstance(error, PartialSuccess) else ():
            print(path)
        say(f"error: {error}")
        return error.exit_code
    except Terminated:
        say("terminated; nothing is half-written")
        return TERMINATED
    except KeyboardInterrupt:
        say("interrupted; nothing is half-written")
        return INTERRUPTED
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):  # both may point at the closed pipe; flush nothing into it
            os.dup2(nowhere, stream.fileno())
        return CLOSED_PIPE
    except OSError as error:
        what = error.strerror or str(error).splitlines()[0]
        todo = "; make room there, or write elsewhere, and type the command again" if error.errno in FULL else ""
        say(f"error: {error.filename or 'system'}: {what}{todo}")
        return RrarankError.exit_code
    except (MemoryError, RuntimeError, ImportError) as error:
        if not is_out_of_memory(error):
            raise
        say("error: not enough memory for this; give smaller inputs, or type the command where more memory is free")
        return RrarankError.exit_code
    return 0


@contextmanager
def _messages_on_stderr() -> Iterator[None]:
    """Show what `say` logs while a command runs."""
    if sys.stderr is None:  # closed: give progress bars and libraries a stream that they can write to
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115  # for the rest of the process
    level = _LOG.level
    handler = show_messages()
    try:
        yield
    finally:
        _LOG.removeHandler(handler)
        _LOG.setLevel(level)


def show_messages() -> logging.Handler:
    """Show what `say` logs, until the process ends or the handler is removed."""
    handler = _Stderr()
    _LOG.addHandler(handler)
    _LOG.setLevel(logging.INFO)
    return handler


class _Stderr(logging.Handler):
    """Write each message as a line on stderr; a closed stderr does not stop the job."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            print(self.format(record), file=sys.stderr, flush=True)
        except (OSError, ValueError):
            with suppress(OSError, ValueError):  # what is left in its buffer would fail again at exit
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


@contextmanager
def _terminable() -> Iterator[None]:
    """Raise `Terminated` on SIGTERM. Only the main thread can handle signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(number: int, frame: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def locked_journal(output: str | Path, what: str) -> Iterator[Journal]:
    """The journal of a job that writes `output`. Says what is resumed and what is kept; removed if it stays empty.

    Args:
        what: the kind of its records, such as `answers`.
    """
    with Journal(journal_path(output)) as journal:
        remove_leftovers(output, sidecar_path(output))
        if len(journal):
            say(f"going on from {journal.path}, which holds {len(journal):,} {what}")
        if journal.damaged:
            lines = ", ".join(map(str, journal.damaged[:5])) + (", …" if len(journal.damaged) > 5 else "")
            say(f"{journal.path}: {len(journal.damaged):,} damaged records are skipped and done again (lines {lines})")
        try:
            yield journal
        except (KeyboardInterrupt, OSError):
            if len(journal):
                say(f"{journal.path} keeps {len(journal):,} {what}; the same command goes on from there")
            raise
        finally:
            if journal.is_empty:
                journal.remove()


def let_go(journal: Journal) -> None:
    """Remove the journal, last: until then the same command goes on. Keep what another job recorded in it."""
    if others := journal.remove_used():
        say(f"{journal.path} stays: {others:,} of its records are of another job; remove it if you do not need them")


@contextmanager
def locked_output(output: str | Path) -> Iterator[None]:
    """Hold the lock of an output while a job without a journal writes it; what a killed job left of it goes."""
    if not is_file(output):
        yield
        return
    with lock(journal_path(output)):
        remove_leftovers(output, sidecar_path(output))
        yield
