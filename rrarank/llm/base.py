"""The one seam to LLMs: questions in, answers out, whether an endpoint or a model folder on disk gives them."""

from __future__ import annotations

import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from rrarank.errors import RrarankError

Messages = Sequence[Mapping[str, str]]
"""A chat, each message `{"role": …, "content": …}`."""


@dataclass(frozen=True)
class LLMConfig:
    """Which model is asked, and how.

    Args:
        model: a folder on disk, or what an endpoint calls the model.
        base_url: of the endpoint, such as `http://localhost:8000/v1`; empty for OPENAI_BASE_URL, else OpenAI's own.
        api_key_env: environment variable that holds the key for that URL; a server that asks for none needs none.
        temperature: 0 for the likeliest words; None leaves it to the model (some refuse to be told).
        max_tokens: longest answer (100 ids, `[1] > [2] > …`, take about 600); 0 leaves it to the model.
        seed: of sampling, where the endpoint can be told.
        stop: texts that end an answer.
        in_flight: most questions asked at once.
        timeout_s: longest wait for one try.
        total_s: longest wait for one question, all tries and the waits between them included.
        retries: tries after the first.
        extra: more of the request's JSON body, such as `{"chat_template_kwargs": {"enable_thinking": False}}`.
    """

    model: str
    base_url: str = ""
    api_key_env: str = "OPENAI_API_KEY"
    temperature: float | None = 0.0
    max_tokens: int = 1024
    seed: int | None = None
    stop: tuple[str, ...] = ()
    in_flight: int = 8
    timeout_s: float = 60.0
    total_s: float = 300.0
    retries: int = 5
    extra: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.model:
            raise RrarankError("no model; give the endpoint's name of one, or a folder")
        for name, least in {"in_flight": 1, "retries": 0, "max_tokens": 0, "temperature": 0}.items():
            if (value := getattr(self, name)) is not None and not least <= value < math.inf:
                raise RrarankError(f"{name} {value}, expected {least} or more")
        for name in ("timeout_s", "total_s"):
            if not 0 < (value := getattr(self, name)) < math.inf:
                raise RrarankError(f"{name} {value}, expected seconds, more than 0")


@dataclass(frozen=True)
class Answer:
    """What the model said; an empty text is an answer too. `model` is the one that says it has answered."""

    text: str
    finish_reason: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    model: str = ""
    id: str = ""


@dataclass(frozen=True)
class Failure:
    """Why there is no answer, in one line; `retryable` if the same question may be answered at another time."""

    reason: str
    retryable: bool


class LLM(ABC):
    """Anything that answers chats."""

    def __init__(self, config: LLMConfig) -> None:
        self.config = config

    @abstractmethod
    def answers(self, questions: Iterable[tuple[str, Messages]]) -> Iterator[tuple[str, Answer | Failure]]:
        """(key, outcome) of each (key, messages), in order of completion; questions are pulled as there is room.

        Raises:
            RrarankError: no other question would be answered either.
        """

    def fingerprint(self) -> dict[str, object]:
        """What determines an answer, as JSON values: neither the key nor where the endpoint is."""
        determinants = ("temperature", "max_tokens", "seed", "stop", "extra")
        settings = json.loads(json.dumps({name: getattr(self.config, name) for name in determinants}))
        return {"model": public_name(self.config.model), **settings}

    context: int = 0  # tokens of question and answer that the model holds; 0 where that is not known

    @property
    def count_tokens(self) -> Callable[[str], int] | None:
        """Counts the tokens of a text, if the tokenizer is at hand."""
        return None


def public_name(model: str) -> str:
    """The model's name, fit to be shared: of an absolute path the last part, with a hash to tell two paths apart."""
    if not model.startswith("/"):
        return model
    return f"{PurePosixPath(model).name}@{hashlib.sha256(model.encode()).hexdigest()[:8]}"
