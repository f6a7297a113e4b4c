"""Measures by name, as ir_measures, trec_eval or ranx spell them: `nDCG@10`, `RR(rel=2)@10`, `recip_rank`, `map-l2`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rrarank.data.types import Qrels
from rrarank.errors import RrarankError

_NAMES = {
    "nDCG": ("ndcg", "ndcg_cut"),
    "AP": ("map", "map_cut"),
    "RR": ("mrr", "recip_rank"),
    "R": ("recall", "set_recall", "setr"),
    "P": ("precision", "set_p", "setp"),
    "F1": ("f1", "set_f", "setf"),
    "Rprec": ("r-precision",),
    "Bpref": ("bpref",),
    "Success": ("hit_rate",),
    "NumRelRet": ("hits", "num_rel_ret", "numrelret"),
    "RBP": ("rbp",),
    "ERR": ("err",),
    "DCG": ("dcg",),
    "nDCG_burges": ("ndcg_burges",),
    "DCG_burges": ("dcg_burges",),
    "Judged": ("judged",),
}  # ir_measures' name -> what others call it; lower case
_NAME_OF = {alias: name for name, aliases in _NAMES.items() for alias in (name.lower(), *aliases)}
GRADED = ("nDCG", "DCG", "nDCG_burges", "DCG_burges", "ERR", "Judged")  # all others ask for a relevance level
_WITHOUT_CUTOFF = ("Rprec", "Bpref")

_SPELLING = re.compile(
    r"(?P<name>[A-Za-z][A-Za-z_-]*?|[A-Za-z]+1)"
    r"(?:[._](?P<number>0?[1-9][0-9]{0,8}))?"  # ndcg_cut_10, P.5, rbp.95
    r"(?:\((?P<arguments>[^()]*)\))?"
    r"(?:@(?P<cutoff>[1-9][0-9]{0,8}))?"
    r"(?:-l(?P<level>[1-9][0-9]{0,5}))?"
)


@dataclass(frozen=True)
class Measure:
    """A measure with its parameters.

    Args:
        name: as ir_measures has it.
        cutoff: the rank to which it is computed; 0 for the whole list.
        level: lowest grade that counts as relevant; None: not given, 1 for measures that need one.
        persistence: of RBP.
    """

    name: str
    cutoff: int = 0
    level: int | None = None
    persistence: float = 0.8

    def __str__(self) -> str:
        """As ir_measures writes it; a measure of binary relevance always says its level."""
        rel = [f"rel={self.level or 1}"] if self.level or not self.is_graded else []
        arguments = ",".join([*([f"p={self.persistence:g}"] if self.name == "RBP" else []), *rel])
        return f"{self.name}{f'({arguments})' if arguments else ''}{f'@{self.cutoff}' if self.cutoff else ''}"

    @property
    def is_graded(self) -> bool:
        """Whether it uses the grades themselves, and needs no level."""
        return self.name in GRADED


def parse_measure(text: str) -> Measure:
    """The measure of that name.

    Raises:
        RrarankError: an unknown name, or parameters that the measure does not have.
    """
    found = _SPELLING.fullmatch(text)
    if not found or found["name"].lower() not in _NAME_OF:
        raise RrarankError(f"{text!r}{_suggestion(text)}")
    measure = Measure(_NAME_OF[found["name"].lower()], int(found["cutoff"] or 0))
    if found["level"]:
        measure = replace(measure, level=int(found["level"]))
    if found["number"] and measure.name == "RBP":
        measure = replace(measure, persistence=float(f"0.{found['number']}"))
    elif found["number"]:
        measure = replace(measure, cutoff=measure.cutoff or int(found["number"]))
    for argument in filter(None, (found["arguments"] or "").split(",")):
        measure = _with_argument(measure, argument.replace(" ", ""), text)
    if measure.cutoff and measure.name in _WITHOUT_CUTOFF:
        raise RrarankError(f"{text!r}: {measure.name} takes no cutoff")
    return measure


def _with_argument(measure: Measure, argument: str, text: str) -> Measure:
    if level := re.fullmatch(r"rel=([1-9][0-9]{0,5})", argument):
        return replace(measure, level=int(level[1]))
    if measure.name == "nDCG" and argument in ("dcg='exp-log2'", 'dcg="exp-log2"'):
        return replace(measure, name="nDCG_burges")
    persistence = re.fullmatch(r"p=(0?\.[0-9]{1,9})", argument)
    if persistence and measure.name == "RBP" and float(persistence[1]):
        return replace(measure, persistence=float(persistence[1]))
    raise RrarankError(f"{text!r}: {measure.name} has no parameter {argument!r}")


def _suggestion(text: str) -> str:
    """` (did you mean 'nDCG@10'?)` for `ndgc@10`, with the cutoff if there is a valid one."""
    name, _, cutoff = text.partition("@")
    close = difflib.get_close_matches(name.lower(), _NAME_OF, n=1)
    tail = f"@{cutoff}" if re.fullmatch("[1-9][0-9]{0,8}", cutoff) else ""
    return f" (did you mean '{_NAME_OF[close[0]]}{tail}'?)" if close else ""


def parse_measures(texts: Sequence[str]) -> dict[str, Measure]:
    """Name as given -> measure.

    Raises:
        RrarankError: no name, or unknown ones, all of them at once.
    """
    found: dict[str, Measure] = {}
    faults = []
    for text in texts:
        try:
            found[text] = parse_measure(text)
        except RrarankError as error:
            faults.append(str(error))
    if faults or not found:
        raise RrarankError(
            f"--measures: not understood: {', '.join(faults) or '(none given)'}; known: {', '.join(_NAMES)}"
        )
    return found


def at_level(measures: Sequence[str], level: int) -> list[str]:
    """The measures at a relevance level: those of binary relevance that state none are given it (`map-l2`)."""
    return [text if level == 1 or not takes_level(text) else f"{text}-l{level}" for text in measures]


def takes_level(text: str) -> bool:
    """Whether a measure of binary relevance is meant, and its level is left open."""
    try:
        measure = parse_measure(text)
    except RrarankError:  # reported with all others later
        return False
    return measure.level is None and not measure.is_graded


def level_note(measures: Sequence[str], qrels: Qrels) -> str:
    """What to know where no level was given and the grades go above 1; else empty."""
    highest = max((grade for grades in qrels.values() for grade in grades.values()), default=0)
    binary = [label(text) for text in measures if takes_level(text)]
    if highest < 2 or not binary:
        return ""
    return (
        f"{', '.join(binary)}: grades of 1 and more count as relevant, and the judgments go up to {highest}; "
        "for TREC DL's figures give --rel-level 2"
    )


def label(text: str) -> str:
    """The measure as tables print it: `RR(rel=1)@10`."""
    return str(parse_measure(text))
