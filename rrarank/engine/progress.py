"""A progress bar for long jobs in Python; short ones print nothing."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LONG = 1000  # pairs, which take seconds on a CPU
SECONDS = 2.0  # before a bar appears by itself


@contextmanager
def no_widget_warning() -> Iterator[None]:
    """Import tqdm.auto, or a library that does, without its advice to install ipywidgets for notebooks."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="IProgress not found")
        yield


@contextmanager
def progress_bar(total: int, unit: str, wanted: bool | None) -> Iterator[Callable[[int], object]]:
    """A function to be called with what was done since.

    Args:
        wanted: None: a bar appears if the job is long, and stderr is a terminal or this is a notebook.
    """
    if wanted is False or (wanted is None and total < LONG):
        yield lambda _: None
        return
    with no_widget_warning():
        from tqdm.auto import tqdm
    in_notebook = any(base.__module__ == "tqdm.notebook" for base in tqdm.__mro__)
    hidden = None if wanted is None and not in_notebook else False  # None: shown on a terminal only
    with tqdm(total=total, unit=unit, disable=hidden, delay=0 if wanted else SECONDS) as bar:
        yield bar.update
