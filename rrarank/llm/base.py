"""The interface to every LLM: chats in, answers out, from an endpoint or from a model folder on disk."""

from __future__ import annotations

import hashlib
import json
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from rrarank.errors import RrarankError

Messages = Sequence[Mapping[str, str]]
"""A chat; each message is `{"role": …, "content": …}`."""


@dataclass(frozen=True)
class LLMConfig:
    """The model and the parameters of a request.

    Args:
        model: a folder on disk, or the model's name at an endpoint.
        base_url: the endpoint, such as `http://localhost:8000/v1`; empty: OPENAI_BASE_URL, else OpenAI's own.
        api_key_env: environment variable that holds the key for that URL; leave it unset for a server without keys.
        key_header: `Authorization` sends `Bearer KEY`; a header of another name has the key alone (Azure: `api-key`).
        temperature: 0 for greedy decoding; None sends no temperature (some models refuse one).
        max_tokens: longest answer (100 ids, `[1] > [2] > …`, take about 600); 0 sends no limit.
        thought_tokens: added to that limit for a model that thinks before it answers.
        reasoning_effort: how long it thinks: `none`, `minimal`, `low`, `medium`, `high`, as the model knows; empty
            sends none.
        schema: JSON schema of the answers, for endpoints that keep answers to one; empty for none.
        tokenizer: folder of the tokenizer of a model behind an endpoint, to count its tokens; empty: not known.
        top_logprobs: how many alternatives for the answer's first token come with their log-probabilities.
        seed: seed of the sampling, if the endpoint supports one.
        stop: texts that end an answer.
        in_flight: maximum number of concurrent requests.
        timeout_s: time limit of one try, in seconds.
        total_s: time limit of one question, including retries and the waits between them, in seconds.
        retries: tries after the first.
        extra: more fields of the request's JSON body, such as `{"chat_template_kwargs": {"enable_thinking": False}}`.
    """

    model: str
    base_url: str = ""
    api_key_env: str = "OPENAI_API_KEY"
    key_header: str = "Authorization"
    temperature: float | None = 0.0
    max_tokens: int = 1024
    thought_tokens: int = 0
    reasoning_effort: str = ""
    schema: Mapping[str, object] = field(default_factory=dict)
    top_logprobs: int = 0
    tokenizer: str = ""
    seed: int | None = None
    stop: tuple[str, ...] = ()
    in_flight: int = 8
    timeout_s: float = 60.0
    total_s: float = 300.0
    retries: int = 5
    extra: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.model:
            raise RrarankError("no model; give the name of a model at the endpoint, or a model folder")
        for name, least in {
            "in_flight": 1,
            "retries": 0,
            "max_tokens": 0,
            "thought_tokens": 0,
            "temperature": 0,
        }.items():
            if (value := getattr(self, name)) is not None and not least <= value < math.inf:
                raise RrarankError(f"{name} {value}, expected {least} or more")
        if not re.fullmatch("[a-z]{0,20}", self.reasoning_effort):
            raise RrarankError(f"reasoning_effort {self.reasoning_effort!r}, expected a word such as low, medium, high")
        if not re.fullmatch("[A-Za-z0-9-]{1,40}", self.key_header):
            raise RrarankError(f"key_header {self.key_header!r}, expected a header name such as api-key")
        for name in ("timeout_s", "total_s"):
            if not 0 < (value := getattr(self, name)) < math.inf:
                raise RrarankError(f"{name} {value}, expected seconds, more than 0")

    @property
    def longest(self) -> int:
        """Most tokens of thought and answer together; 0 for no limit."""
        return self.max_tokens and self.max_tokens + self.thought_tokens


@dataclass(frozen=True)
class Answer:
    """A model's reply; its text may be empty. `model` is the name that the reply gives.

    Args:
        first: token -> log-probability, of the alternatives for the first token, if they were asked for.
    """

    text: str
    finish_reason: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    model: str = ""
    id: str = ""
    first: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """Why there is no answer, in one line; `retryable` if the same question may succeed later."""

    reason: str
    retryable: bool


class LLM(ABC):
    """A model that answers chats."""

    def __init__(self, config: LLMConfig) -> None:
        self.config = config

    @abstractmethod
    def answers(self, questions: Iterable[tuple[str, Messages]]) -> Iterator[tuple[str, Answer | Failure]]:
        """Yield (key, outcome) for each (key, messages), in order of completion; read questions only when needed.

        Raises:
            RrarankError: every other question would fail too.
        """

    def fingerprint(self) -> dict[str, object]:
        """The settings that determine an answer, as JSON values, without key and host."""
        determinants = ("temperature", "max_tokens", "seed", "stop", "extra")
        found = {name: getattr(self.config, name) for name in determinants}
        later = ("thought_tokens", "reasoning_effort", "schema", "top_logprobs")  # older journals do not have them
        found |= {name: value for name in later if (value := getattr(self.config, name))}
        if self.config.tokenizer:  # passages are cut by it
            found["tokenizer"] = public_name(self.config.tokenizer)
        settings = json.loads(json.dumps(found))
        return {"model": public_name(self.config.model), **settings}

    context: int = 0  # tokens of question and answer together that the model accepts; 0 if unknown

    @property
    def count_tokens(self) -> Callable[[str], int] | None:
        """A function that counts the tokens of a text, if the tokenizer is available."""
        return None

    def count_chat(self, messages: Messages) -> int:
        """The tokens of a question with those of the chat template; 0 if the tokenizer is not available."""
        return 0


def public_name(model: str) -> str:
    """The model's name without local folders: the last part of an absolute path, and a hash of the path."""
    if not model.startswith("/"):
        return model
    return f"{PurePosixPath(model).name}@{hashlib.sha256(model.encode()).hexdigest()[:8]}"
