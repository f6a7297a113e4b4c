"""LLMs behind an OpenAI-compatible endpoint, many questions at once, and all that can go wrong there.

Every question ends in an Answer or a Failure within a bounded time. What no other question could survive either (a
refused key, an unknown model, a server that is not there) ends the job instead, in one line.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from rrarank.errors import MissingPrerequisite, MissingResource, RrarankError
from rrarank.llm.base import LLM, Answer, Failure, LLMConfig, Messages, public_name

if TYPE_CHECKING:
    from openai import APIConnectionError, APIStatusError, AsyncOpenAI

CONNECT_S = 10.0  # longest wait for a connection
FIRST_WAIT_S, GROWTH, LONGEST_WAIT_S = 0.5, 4, 30.0  # between tries; five waits span the restart of a server
TRIES_UNREACHED = 3  # of a server that has never replied
PATIENCE = 8  # failures in a row that end a job; with more in flight, as many as those


class Endpoint(LLM):
    """A model behind an OpenAI-compatible endpoint: vLLM, SGLang, llama.cpp, Ollama, OpenAI, CLOVA Studio, …"""

    def __init__(self, config: LLMConfig) -> None:
        super().__init__(config)
        self._url = _checked_url(config.base_url or os.environ.get("OPENAI_BASE_URL", ""))
        self._key = _key(config.api_key_env, needed=not self._url)
        self._where = self._url.partition("?")[0] or "OpenAI's API"
        self._reached = False
        self._random = random.Random()  # spreads waits over time; no answer depends on it

    def answers(self, questions: Iterable[tuple[str, Messages]]) -> Iterator[tuple[str, Answer | Failure]]:
        with closing(self._outcomes(iter(questions))) as outcomes:
            yield from _while_hopeful(outcomes, max(PATIENCE, self.config.in_flight), self._where)

    def _outcomes(self, questions: Iterator[tuple[str, Messages]]) -> Generator[tuple[str, Answer | Failure]]:
        """Asked in another thread; pulled, and raised, in the caller's."""
        done: SimpleQueue[Future[tuple[str, Answer | Failure]]] = SimpleQueue()
        client = self._client()
        with _background_loop(client.close) as loop:
            in_flight = 0
            while True:
                for key, messages in itertools.islice(questions, self.config.in_flight - in_flight):
                    asked = asyncio.run_coroutine_threadsafe(self._ask(client, key, messages), loop)
                    asked.add_done_callback(done.put)
                    in_flight += 1
                if not in_flight:
                    return
                outcome = done.get().result()
                in_flight -= 1
                yield outcome

    def _client(self) -> AsyncOpenAI:
        from openai import AsyncOpenAI, Timeout

        timeout = Timeout(self.config.timeout_s, connect=min(CONNECT_S, self.config.timeout_s))
        # the SDK would retry neither a reply cut short nor within a total: the retries are ours alone
        return AsyncOpenAI(api_key=self._key or "none", base_url=self._url or None, timeout=timeout, max_retries=0)

    async def _ask(self, client: AsyncOpenAI, key: str, messages: Messages) -> tuple[str, Answer | Failure]:
        """Try until there is an answer, a fault that stays, or no time."""
        end = time.monotonic() + self.config.total_s
        for tries in itertools.count(1):
            outcome = await self._try(client, messages, min(self.config.timeout_s, end - time.monotonic()))
            if isinstance(outcome, Answer):
                return key, outcome
            self._check_fatal(outcome)
            wait = self._wait(outcome, tries)
            if self._is_last(outcome, tries) or time.monotonic() + wait >= end:
                return key, self._give_up(outcome, tries)
            await asyncio.sleep(wait)
        raise AssertionError("count() does not end")

    async def _try(self, client: AsyncOpenAI, messages: Messages, seconds: float) -> Answer | _Fault:
        import openai

        try:
            async with asyncio.timeout(seconds):  # the SDK's own bounds each read, not the whole
                # as text: a reply cut short is ours to tell, and the SDK's typed methods only add work
                reply = await client.post("/chat/completions", body=self._request(messages), cast_to=str)
        except TimeoutError:
            return _Fault(f"no answer within {seconds:.3g} s")
        except openai.APIConnectionError as error:
            return _connection_fault(error)
        except openai.APIStatusError as error:
            self._reached = True
            return _status_fault(error)
        self._reached = True
        return _read_reply(reply)

    def _request(self, messages: Messages) -> dict[str, object]:
        config = self.config
        request: dict[str, object] = {
            "model": config.model,
            "messages": [dict(message) for message in messages],
            "temperature": config.temperature,
            "max_tokens": config.max_tokens or None,
            "seed": config.seed,
            "stop": list(config.stop) or None,
        }
        return {name: value for name, value in request.items() if value is not None} | dict(config.extra)

    def _is_last(self, fault: _Fault, tries: int) -> bool:
        unreached = fault.unreachable and not self._reached
        return not fault.retryable or tries > self.config.retries or (unreached and tries >= TRIES_UNREACHED)

    def _wait(self, fault: _Fault, tries: int) -> float:
        """Seconds to the next try: what the server asks for and a little more, else exponential with full jitter."""
        if fault.wait:
            return fault.wait + self._random.uniform(0, 0.5)
        return self._random.uniform(0, min(FIRST_WAIT_S * GROWTH ** min(tries - 1, 9), LONGEST_WAIT_S))

    def _give_up(self, fault: _Fault, tries: int) -> Failure:
        reason = self._one_line(fault.reason)
        if fault.unreachable and not self._reached:
            raise MissingResource(f"{self._where}: cannot be reached ({reason}); does the server run at this base_url?")
        asked = f"; asked to wait {fault.wait:.0f} s" if fault.wait else ""
        return Failure(f"{reason}{asked}{f' (tried {tries} times)' if tries > 1 else ''}", fault.retryable)

    def _check_fatal(self, fault: _Fault) -> None:
        if hint := _FATAL.get(fault.status):
            hint = hint.format(model=self.config.model, key=self.config.api_key_env)
            raise MissingResource(f"{self._where}: {hint} ({self._one_line(fault.reason)})")

    def _one_line(self, text: str) -> str:
        """Short, printable, and without the key, which some servers repeat in their errors."""
        text = text.replace(self._key, "***") if len(self._key) >= 8 else text
        text = "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))
        return text if len(text) <= 300 else f"{text[:299]}…"


def _checked_url(url: str) -> str:
    """Raises RrarankError, which does not repeat a URL that may hold a password."""
    url = url.strip()
    try:
        parts = urlsplit(url)
        sound = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        sound = False
    if url and not (sound and re.fullmatch("[!-~]+", url)):
        raise RrarankError("base_url is not a URL; expected the like of http://localhost:8000/v1")
    if parts.username or parts.password:
        raise RrarankError("base_url holds a user or password; put a key into the variable that api_key_env names")
    return url


def _key(variable: str, needed: bool) -> str:
    key = os.environ.get(variable, "").strip()
    if not key and needed:
        raise MissingPrerequisite(f"{variable} is not set; export a key, or give the base_url of a server without one")
    if not (key.isascii() and key.isprintable()):
        raise RrarankError(f"{variable} holds a character that no key has; export it anew")
    return key


# -- what can go wrong ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Fault:
    """How one try failed. `wait`: seconds the server asks for; `status`: HTTP's, 0 without a reply."""

    reason: str
    retryable: bool = True
    wait: float = 0.0
    status: int = 0
    unreachable: bool = False


_FATAL = {
    401: "the key is refused; set {key} to a valid one",
    402: "the account has no credit left",
    404: "no model {model!r} there, or no such URL; a base_url mostly ends in /v1",
}
_TRANSIENT = {408, 409, 425, 429}  # and 5xx; as the SDK's own, and RFC 8470's 425


def _status_fault(error: APIStatusError) -> _Fault:
    status = error.status_code
    reason = f"HTTP {status}: {_complaint(error.body)}"
    if error.code == "insufficient_quota":  # OpenAI says it with 429, but waiting does not help
        return _Fault(reason, retryable=False, status=402)
    return _Fault(reason, status in _TRANSIENT or status >= 500, _retry_after(error.response.headers), status)


def _complaint(body: object) -> str:
    """The server's own words: OpenAI's and vLLM's `message`, FastAPI's `detail`, else all there is."""
    if isinstance(body, Mapping):
        body = body.get("message") or body.get("detail") or body
    text = body if isinstance(body, str) else json.dumps(body)
    return "an HTML page" if text.lstrip()[:1] == "<" else text or "no reason given"


def _connection_fault(error: APIConnectionError) -> _Fault:
    """Named by its cause; told by names, as the SDK's HTTP library changes with its version."""
    cause: BaseException = error.__cause__ or error
    kind = type(cause).__name__
    unreachable = kind in {"ConnectError", "ConnectTimeout", "ProxyError", "UnsupportedProtocol"}
    return _Fault(f"{kind}: {cause}" if str(cause) else kind, unreachable=unreachable)


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds by `retry-after-ms` (OpenAI's) or `Retry-After`, which is seconds or a date (RFC 9110, 10.2.3)."""
    if text := headers.get("retry-after-ms", ""):
        return _seconds(text) / 1000
    text = headers.get("retry-after", "")
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return _seconds(text)
    return max(0.0, (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _seconds(text: str) -> float:
    try:
        return max(0.0, float(text))  # nan is 0 too
    except ValueError:
        return 0.0


def _read_reply(body: str) -> Answer | _Fault:
    """The answer of a reply with status 200, which may still be cut short, empty or something else altogether."""
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError):
        what = "an HTML page" if body.lstrip()[:1] == "<" else f"not JSON ({len(body):,} characters)"
        return _Fault(f"the reply is {what}")
    match reply:
        case {"choices": [{"message": {**message}} as choice, *_]}:
            usage = reply.get("usage")
            return Answer(
                _text(message.get("content")) or _text(message.get("refusal")),
                _text(choice.get("finish_reason")),
                _count(usage, "prompt_tokens"),
                _count(usage, "completion_tokens"),
                public_name(_text(reply.get("model"))),
                _text(reply.get("id")),
            )
        case {"error": error}:
            return _Fault(f"the reply is an error: {_complaint(error)}")
    return _Fault("the reply has no choices")


def _text(value: object) -> str:
    """A string that can be written to a file: JSON may hold half a surrogate pair, UTF-8 cannot."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _count(usage: object, name: str) -> int:
    value = usage.get(name) if isinstance(usage, Mapping) else None
    return value if isinstance(value, int) else 0


def _while_hopeful(
    outcomes: Iterable[tuple[str, Answer | Failure]], patience: int, where: str
) -> Iterator[tuple[str, Answer | Failure]]:
    """The outcomes, until `patience` failures in a row say that the server is gone, or refuses whatever is asked."""
    failures: deque[Failure] = deque(maxlen=patience)
    answered = False
    for key, outcome in outcomes:
        yield key, outcome
        if isinstance(outcome, Answer):
            answered = True
            failures.clear()
            continue
        failures.append(outcome)
        if len(failures) == patience and all(failure.retryable for failure in failures):
            raise MissingResource(f"{where}: {patience} failures in a row ({outcome.reason}); is the server well?")
        if len(failures) == patience and not answered and len(set(failures)) == 1:
            raise RrarankError(f"{where}: the first {patience} questions are all refused ({outcome.reason})")


# -- an event loop beside the caller ----------------------------------------------------------------------------------


@contextmanager
def _background_loop(close: Callable[[], Coroutine[Any, Any, None]]) -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop in a thread of its own, so that Ctrl-C reaches the caller at once and a caller may have a loop too
    (Jupyter does). In the end all that runs is cancelled, then `close` is run."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=_serve, args=(loop, close), name="rrarank-llm", daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=1.0)  # a connection that does not let go must not hold up Ctrl-C


def _serve(loop: asyncio.AbstractEventLoop, close: Callable[[], Coroutine[Any, Any, None]]) -> None:
    loop.run_forever()
    loop.run_until_complete(_wind_up(asyncio.all_tasks(loop), close))
    loop.close()


async def _wind_up(tasks: Iterable[asyncio.Task[Any]], close: Callable[[], Coroutine[Any, Any, None]]) -> None:
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await close()
