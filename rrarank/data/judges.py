"""Who judged: the second column of TREC qrels marks the judgments of an LLM, `qid LLM:model docid grade`.

trec_eval, pytrec_eval and ir_measures read that column (`iteration`) and ignore it. So an LLM's judgments, alone or in
one file with people's, work in every tool, and the file still tells the two apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rrarank.data.trec import columns, fits_run, parse_qrels
from rrarank.data.types import Qrels
from rrarank.errors import RrarankError
from rrarank.storage.files import atomic_write, read_lines

MARK = "LLM:"


@dataclass(frozen=True)
class Judgments:
    """People's judgments, and an LLM's of other documents.

    Args:
        judges: the marks of the LLMs, such as `LLM:gpt-4o`.
    """

    people: Qrels
    llm: Qrels
    judges: tuple[str, ...] = ()

    @property
    def every(self) -> Qrels:
        """People's and the LLM's of all queries; people's count where both judged."""
        qids = dict.fromkeys([*self.people, *self.llm])
        return {qid: {**self.llm.get(qid, {}), **self.people.get(qid, {})} for qid in qids}

    @property
    def both(self) -> Qrels:
        """People's, and for the same queries those of the LLM about documents that no person judged."""
        return {qid: {**self.llm.get(qid, {}), **grades} for qid, grades in self.people.items()}

    @property
    def added(self) -> int:
        """How many judgments of the LLM `both` holds."""
        return sum(len(grades) for grades in self.both.values()) - sum(len(grades) for grades in self.people.values())


def judge_mark(model: str) -> str:
    """`LLM:` and the model's name, without spaces: the second column of its judgments."""
    return MARK + (re.sub(r"\s+", "_", model.strip()) or "unnamed")


def model_of(mark: str) -> str:
    return mark.removeprefix(MARK)


def write_llm_qrels(path: str | Path, qrels: Qrels, mark: str) -> None:
    """Write an LLM's judgments whole or not at all, each with its mark.

    Raises:
        RrarankError: an id is empty or contains a space.
    """
    with atomic_write(path) as file:
        for qid, grades in qrels.items():
            for docid, grade in grades.items():
                if not (fits_run(qid) and fits_run(docid)):
                    raise RrarankError(f"query {qid!r}, docid {docid!r}: ids in qrels cannot be empty or hold spaces")
                file.write(f"{qid} {mark} {docid} {grade}\n")


def read_judgments(path: str | Path) -> Judgments:
    """TREC or BEIR qrels by who judged: an LLM where column 2 has its mark, else people.

    People's judgments count where one file holds both, such as an LLM's sample joined with theirs.
    """
    lines = _without_repeats(list(read_lines(path)))
    qrels, marks = parse_qrels(lines, where=str(path)), _marks(lines)
    people = {qid: {d: g for d, g in grades.items() if (qid, d) not in marks} for qid, grades in qrels.items()}
    llm = {qid: {d: g for d, g in grades.items() if (qid, d) in marks} for qid, grades in qrels.items()}
    return Judgments(_without_empty(people), _without_empty(llm), tuple(dict.fromkeys(marks.values())))


def read_llm_qrels(path: str | Path) -> Judgments:
    """Qrels of which an LLM judged every line.

    Raises:
        RrarankError: a line has no mark, so a person judged it.
    """
    found = read_judgments(path)
    for qid, grades in found.people.items():
        raise RrarankError(
            f"{path}: query {qid!r}, docid {next(iter(grades))!r} has no {MARK}… in column 2, so a person judged it; "
            "give people's judgments as --qrels"
        )
    return found


def joined(judgments: Judgments, others: Iterable[Judgments]) -> Judgments:
    """The judgments with the LLM's ones of others; of two about one document the first counts."""
    llm = {qid: dict(grades) for qid, grades in judgments.llm.items()}
    judges = dict.fromkeys(judgments.judges)
    for other in others:
        judges |= dict.fromkeys(other.judges)
        for qid, grades in other.llm.items():
            llm[qid] = {**grades, **llm.get(qid, {})}
    return Judgments(judgments.people, llm, tuple(judges))


def _marks(lines: Iterable[str]) -> dict[tuple[str, str], str]:
    """(qid, docid) -> mark, of the lines that an LLM judged."""
    rows = (columns(line) for line in lines)
    return {(row[0], row[2]): row[1] for row in rows if len(row) == 4 and row[1].startswith(MARK)}


def _without_repeats(lines: list[str]) -> list[str]:
    """The lines, empty where an LLM judged what a person judged in another line."""
    if not (marks := _marks(lines)):
        return lines
    rows = [columns(line) for line in lines]
    by_people = {(row[0], row[2]) for row in rows if len(row) == 4 and not row[1].startswith(MARK)} & marks.keys()
    return [
        "" if len(row) == 4 and row[1].startswith(MARK) and (row[0], row[2]) in by_people else line
        for row, line in zip(rows, lines, strict=True)
    ]


def _without_empty(qrels: Qrels) -> Qrels:
    return {qid: grades for qid, grades in qrels.items() if grades}
