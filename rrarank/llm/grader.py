"""Point-wise questions to an LLM: how relevant is this passage to this query, from 0 to 3?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rrarank.llm.base import LLM, Answer, Messages, public_name
from rrarank.llm.prompts import neutralise
from rrarank.llm.questions import count_texts, cut_passage
from rrarank.llm.text_prompt import TextPrompt, load_text_prompt
from rrarank.storage.journal import work_key

TOKENS_A_GRADE = 6  # `##final score: 2`


def load_grade_prompt(name: str | Path = "umbrela") -> TextPrompt:
    """A prompt that shows a query and a passage and asks for a grade, as `load_text_prompt` finds it."""
    return load_text_prompt(name, "judge-prompts", {"passage", "query"})


@dataclass(frozen=True)
class Grader:
    """An LLM with a prompt that asks for grades.

    Args:
        passage_tokens: maximum number of tokens of a passage.
    """

    llm: LLM
    prompt: TextPrompt
    passage_tokens: int = 512

    @property
    def name(self) -> str:
        """The model, without local folders."""
        return public_name(str(self.llm.fingerprint()["model"]))

    def question(self, query: str, passage: str) -> tuple[str, Messages]:
        """The messages, and their journal key: a hash of all that determines the answer."""
        shown = {"query": neutralise(query), "passage": cut_passage(self.llm, passage, self.passage_tokens)}
        turns = [("system", self.prompt.system_message), ("user", self.prompt.body.format(**shown))]
        messages = [{"role": role, "content": text} for role, text in turns if text]
        return work_key(self.llm.fingerprint(), messages), messages

    def tokens(self, messages: Messages) -> int:
        """Estimate the tokens of a question."""
        return count_texts(self.llm, messages)

    def provenance(self, answers: Iterable[Answer]) -> dict[str, object]:
        """The settings that determined the answers, as JSON values, without host and time."""
        return {
            **self.llm.fingerprint(),
            "prompt_sha256": self.prompt.sha256,
            "passage_tokens": self.passage_tokens,
            "answered_by": sorted({answer.model for answer in answers} - {""}),
        }
