"""Measures by name, as ir_measures, trec_eval or ranx spell them: `nDCG@10`, `RR(rel=2)@10`, `recip_rank`, `map-l2`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias, TypeVar

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
    "NumRelRet": ("hits", "num_rel_ret", "numret"),
    "RBP": ("rbp",),
    "ERR": ("err",),
    "DCG": ("dcg",),
    "nDCG_burges": ("ndcg_burges",),
    "DCG_burges": ("dcg_burges",),
    "Judged": ("judged",),
}  # ir_measures' name -> what others call it; lower case
_NAME_OF = {alias: name for name, aliases in _NAMES.items() for alias in (name.lower(), *aliases)}
GRADED = ("nDCG", "DCG", "nDCG_burges", "DCG_burges", "ERR", "Judged")  # all others ask for a relevance level
_SUMS = ("NumRelRet",)  # over the queries, as ir_measures and trec_eval aggregate them; all others are means
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

    @property
    def is_judged(self) -> bool:
        """Whether it says how much is judged, which makes no system better: it is never bold nor tested."""
        return self.name == "Judged"

    @property
    def is_sum(self) -> bool:
        """Whether its values are added up over the queries; else their mean is taken."""
        return self.name in _SUMS


def parse_measure(text: str) -> Measure:
    """The measure of that name.

    Raises:
        RrarankError: an unknown name, or parameters that the measure does not have.
    """
    found = _SPELLING.fullmatch(text)
    if not found or found["name"].lower() not in _NAME_OF:
        raise RrarankError(f"{text!r}{_suggestion(text)}")
    name = _NAME_OF[found["name"].lower()]
    given = [_argument(name, one.replace(" ", ""), text) for one in filter(None, (found["arguments"] or "").split(","))]
    given += [("cutoff", int(found["cutoff"]))] if found["cutoff"] else []
    given += [("level", int(found["level"]))] if found["level"] else []
    if found["number"]:
        persistence = ("persistence", float(f"0.{found['number']}"))
        given.append(persistence if name == "RBP" else ("cutoff", int(found["number"])))
    measure = Measure(**({"name": name} | _each_once(given, text)))
    if found["name"].lower() == "numret" and not measure.level:
        raise RrarankError(f"{text!r}: counts all that was retrieved; NumRelRet counts what is relevant")
    if measure.level and measure.is_judged:
        raise RrarankError(f"{text!r}: Judged takes no relevance level; it counts every judgment")
    if measure.cutoff and measure.name in _WITHOUT_CUTOFF:
        raise RrarankError(f"{text!r}: {measure.name} takes no cutoff")
    return measure


_SAID = {"level": "rel", "persistence": "p", "name": "dcg"}


def _each_once(given: Sequence[tuple[str, Any]], text: str) -> dict[str, Any]:
    """parameter -> value; a parameter may come twice only with the same value."""
    found: dict[str, Any] = {}
    for parameter, value in given:
        if found.setdefault(parameter, value) != value:
            said = f"{_SAID.get(parameter, parameter)} is {found[parameter]} and {value}"
            raise RrarankError(f"{text!r}: {said}; give one")
    return found


def _argument(name: str, argument: str, text: str) -> tuple[str, Any]:
    """What stands between the parentheses, as a field of `Measure` and its value."""
    if level := re.fullmatch(r"rel=([1-9][0-9]{0,5})", argument):
        return "level", int(level[1])
    if name == "nDCG" and argument in ("dcg='exp-log2'", 'dcg="exp-log2"'):
        return "name", "nDCG_burges"
    persistence = re.fullmatch(r"p=(0?\.[0-9]{1,9})", argument)
    if persistence and name == "RBP" and float(persistence[1]):
        return "persistence", float(persistence[1])
    raise RrarankError(f"{text!r}: {name} has no parameter {argument!r}")


_PARTS = re.compile(r"(?P<name>[A-Za-z_.-]+?)(?:[._](?P<number>[1-9][0-9]{0,8}))?(?P<rest>[(@].*|-l[0-9]+)?")
_ABSENT = ("set_map", "setap", "gm_map", "infap")  # others' measures that are close to another name only


def _suggestion(text: str) -> str:
    """` (did you mean 'nDCG@10'?)` for `ndgc@10`, with the parameters if they are valid."""
    parts = _PARTS.fullmatch(text)
    name = parts["name"].lower() if parts else text.partition("@")[0].lower()
    close = difflib.get_close_matches(name, _NAME_OF, n=1)
    if not close or name in _ABSENT:
        return ""
    found = _NAME_OF[close[0]]
    rest = (parts["rest"] or "") if parts else ""
    cutoff = f"@{parts['number']}" if parts and parts["number"] and "@" not in rest else ""
    whole = f"{found}{rest}{cutoff}" if not rest.startswith("-l") else f"{found}{cutoff}{rest}"
    return f" (did you mean '{whole if _is_measure(whole) else found}'?)"


def _is_measure(text: str) -> bool:
    spelt = _SPELLING.fullmatch(text)
    if not spelt or spelt["name"].lower() not in _NAME_OF:
        return False
    try:
        return bool(parse_measure(text))
    except RrarankError:
        return False


def measure_names(given: object) -> list[str]:
    """The names of measures, from one or several; each a string of names (`nDCG@10 RR@10`) or an object of ir_measures.

    Raises:
        RrarankError: something else is among them. Names are checked by `parse_measures`.
    """
    listed = [given] if isinstance(given, str) or _is_object(given) else given
    if not isinstance(listed, Iterable):
        raise RrarankError(f"{_MEASURES}: {given!r}, expected names such as nDCG@10")
    names = list(listed)
    if odd := [one for one in names if not (isinstance(one, str) or _is_object(one))]:
        kind = type(odd[0]).__name__
        raise RrarankError(f"{_MEASURES}: {odd[0]!r} is of type {kind}, expected a name such as nDCG@10")
    split = (_BETWEEN.split(_CUTOFFS.sub(_each_cutoff, one)) if isinstance(one, str) else [str(one)] for one in names)
    return [name for part in split for name in part if name]


class MeasureObject(Protocol):
    """A measure of ir_measures; its string names it."""

    def aggregator(self) -> Any: ...  # its own class, which is not imported here


MeasureLike: TypeAlias = str | MeasureObject


def tested(measures: Iterable[str]) -> list[str]:
    """Those by which systems are compared: all but `Judged`."""
    return [measure for measure in measures if not parse_measure(measure).is_judged]


def distinct(names: Iterable[str]) -> list[str]:
    """Each measure once, by the name that tables print."""
    return list(dict.fromkeys(map(label, names)))


def _is_object(thing: object) -> bool:
    """Whether it is a measure of ir_measures, whose string names it."""
    return type(thing).__module__.split(".")[0] == "ir_measures"


_BETWEEN = re.compile(r"[\s,]+(?![^()]*\))")  # spaces and commas outside parentheses, as ir_measures' command splits
_CUTOFFS = re.compile(r"(?<![\w(.])([A-Za-z_]+[._])([0-9]+(?:,[0-9]+)+)(?![\w.])")  # ndcg_cut.5,10 of trec_eval
_MEASURES = "measures (--measures)"


def _each_cutoff(found: re.Match[str]) -> str:
    return " ".join(f"{found[1]}{cutoff}" for cutoff in found[2].split(","))


T = TypeVar("T")


class ByMeasure(dict[str, T]):
    """Measure, by the name that tables print -> value; any other spelling and objects of ir_measures find it too."""

    def __getitem__(self, name: MeasureLike) -> T:
        return super().__getitem__(name)  # type: ignore[index]

    def __missing__(self, name: object) -> T:
        text = str(name) if isinstance(name, str) or _is_object(name) else ""
        if not _is_measure(text):
            raise KeyError(name)
        asked = parse_measure(text)
        if str(asked) in list(self):
            return self[str(asked)]
        alike = [one for one in self if replace(parse_measure(one), level=None) == asked]
        if len(alike) == 1:  # RR, where the only RR has the level that `rel_level` gave it
            return self[alike[0]]
        raise KeyError(f"{name}; measured: {', '.join(self)}")

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or self.get(name) is not None

    def get(self, name: Any, default: Any = None) -> Any:
        try:
            return self[name]
        except KeyError:
            return default


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
            f"{_MEASURES}: not understood: {', '.join(faults) or '(none given)'}; known: {', '.join(_NAMES)}"
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
    """What to know where no level was given and another one would change the figures; else empty."""
    grades = {grade for given in qrels.values() for grade in given.values()}
    stated = {label(text) for text in measures if not takes_level(text)}
    binary = [
        name for name in dict.fromkeys(label(text) for text in measures if takes_level(text)) if name not in stated
    ]
    if 1 not in grades or (highest := max(grades)) < 2 or not binary:
        return ""
    return (
        f"{', '.join(binary)}: grades of 1 and more count as relevant, and the judgments go up to {highest}; "
        "for TREC DL's figures give rel_level=2 (--rel-level 2)"
    )


def unreached_note(measures: Sequence[str], qrels: Qrels) -> str:
    """What to know where the relevance level of some measures is above every grade, so that they are 0; else empty."""
    highest = max((grade for given in qrels.values() for grade in given.values()), default=0)
    asked = map(parse_measure, measures)
    above = [str(one) for one in asked if (one.level or (0 if one.is_graded else 1)) > max(highest, 0)]
    if not above:
        return ""
    return f"{', '.join(above)}: no judgment reaches this grade, the highest is {highest}; nothing counts as relevant"


def label(measure: MeasureLike) -> str:
    """The measure as tables print it: `RR(rel=1)@10`."""
    return str(parse_measure(str(measure)))
