"""The JSON of a chat completion: what is asked, which fields an endpoint refuses, and how a reply is read."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from rrarank.errors import say
from rrarank.llm.base import Answer, LLMConfig, Messages, public_name
from rrarank.llm.http import Reply

CAN_GO = ("temperature", "seed", "stop", "reasoning_effort", "response_format", "logprobs", "top_logprobs")
"""Fields without which a question can still be asked."""

_LIMITS = ("max_tokens", "max_completion_tokens")  # newer models take only the second name
_REFUSING = (400, 422)
_TOGETHER = {"logprobs", "top_logprobs"}


class ChatForm:
    """The body of a request. A field that the endpoint refuses is left out of this and of all later requests.

    Args:
        where: the endpoint, for the message that says so.
    """

    def __init__(self, config: LLMConfig, where: str) -> None:
        self._config, self._where = config, where
        self._gone: set[str] = set()
        self._limit = _LIMITS[0]

    def body(self, messages: Messages) -> dict[str, Any]:
        """The JSON object of a request."""
        config = self._config
        body: dict[str, object] = {
            "model": config.model,
            "messages": [dict(message) for message in messages],
            "temperature": config.temperature,
            self._limit: config.longest or None,
            "seed": config.seed,
            "stop": list(config.stop) or None,
            "reasoning_effort": config.reasoning_effort or None,
            "response_format": _response_format(config.schema) if config.schema else None,
            "logprobs": bool(config.top_logprobs) or None,
            "top_logprobs": config.top_logprobs or None,
        }
        sent = {name: value for name, value in body.items() if value is not None and name not in self._gone}
        return sent | dict(config.extra)

    def without_refused(self, sent: Mapping[str, Any], reply: Reply) -> dict[str, Any] | None:
        """The request without the field that the reply complains of, or with its newer name; None if there is none.

        What the user wrote into `extra` is never changed.
        """
        if reply.status not in _REFUSING:
            return None
        old, new = _LIMITS
        own = sent.keys() - self._config.extra.keys()
        if new in reply.body and old in own:
            return {new if name == old else name: value for name, value in sent.items()}
        refused = _named(reply.body, own)
        return {name: value for name, value in sent.items() if name not in refused} if refused else None

    def remember(self, sent: Mapping[str, Any]) -> None:
        """Note which fields were left out of a request that succeeded."""
        if self._limit not in sent and _LIMITS[1] in sent and _LIMITS[1] not in self._config.extra:
            self._limit = _LIMITS[1]
        if gone := {name for name in CAN_GO if name in self.body([]) and name not in sent}:
            self._gone |= gone
            say(f"{self._where} refuses {' and '.join(sorted(gone))}; going on without")


def _response_format(schema: Mapping[str, object]) -> dict[str, object]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": dict(schema)}}


def _named(body: str, own: set[str]) -> set[str]:
    """The field of a request that an error names as its `param`, or in its text."""
    try:
        error = json.loads(body)
    except (ValueError, RecursionError):
        return set()
    error = error.get("error", error) if isinstance(error, dict) else error
    param, text = (error.get("param"), complaint(error)) if isinstance(error, dict) else ("", str(error))
    for name in CAN_GO:
        if name in own and (str(param).partition(".")[0] == name or re.search(rf"\b{name}\b", text[:500])):
            return _TOGETHER & own if name in _TOGETHER else {name}
    return set()


def complaint(body: object) -> str:
    """The server's error text: `message` (OpenAI, vLLM), `detail` (FastAPI), else the whole body."""
    if isinstance(body, Mapping):
        body = body.get("message") or body.get("detail") or body
    text = body if isinstance(body, str) else json.dumps(body)
    return "an HTML page" if text.lstrip()[:1] == "<" else text or "no reason given"


def read_reply(body: str) -> Answer | str:
    """Read a reply with status 200; what is wrong with one that is truncated, empty or no chat completion."""
    try:
        reply = json.loads(body, parse_int=_whole_number)
    except (ValueError, RecursionError):
        what = "an HTML page" if body.lstrip()[:1] == "<" else f"not JSON ({len(body):,} characters)"
        return f"the reply is {what}"
    match reply:
        case {"choices": [{"message": {**message}} as choice, *_]}:
            usage = reply.get("usage")
            return Answer(
                _content(message.get("content")) or _text(message.get("refusal")),
                _text(choice.get("finish_reason")),
                _count(usage, "prompt_tokens"),
                _count(usage, "completion_tokens"),
                public_name(_text(reply.get("model"))),
                _text(reply.get("id")),
                _first(choice.get("logprobs")),
            )
        case {"error": error}:
            return f"the reply is an error: {complaint(error)}"
    return "the reply has no choices"


def _first(logprobs: object) -> dict[str, float]:
    """token -> log-probability, of the alternatives for the answer's first token."""
    match logprobs:
        case {"content": [{"top_logprobs": [*alternatives]}, *_]}:
            pairs = [(one.get("token"), one.get("logprob")) for one in alternatives if isinstance(one, dict)]
            return {
                _text(token): float(value)
                for token, value in reversed(pairs)  # the likelier of two tokens with one text is first, and stays
                if isinstance(token, str) and isinstance(value, int | float)
            }
    return {}


def _content(value: object) -> str:
    """The text of a message, which may come as a list of parts: thinking parts are left out."""
    if not isinstance(value, list):
        return _text(value)
    parts = [part for part in value if isinstance(part, dict) and part.get("type") in ("text", "output_text")]
    return "".join(_text(part.get("text")) for part in parts)


def _text(value: object) -> str:
    """The string in valid UTF-8: JSON may contain half of a surrogate pair, UTF-8 cannot."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _whole_number(text: str) -> int:
    return int(text) if len(text) < 16 else 0  # nobody counts so far, and Python refuses thousands of digits


def _count(usage: object, name: str) -> int:
    value = usage.get(name) if isinstance(usage, Mapping) else None
    return max(value, 0) if type(value) is int else 0
