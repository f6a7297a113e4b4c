"""LLMs behind an OpenAI-compatible endpoint: concurrent requests, retries and errors.

Every question ends in an Answer or a Failure within a bounded time. An error that every question would meet (a refused
key, an unknown model, an unreachable server) ends the job in one line.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from rrarank.errors import MissingPrerequisite, MissingResource, RrarankError, printable
from rrarank.extras import check_installed
from rrarank.llm.base import LLM, Answer, Failure, LLMConfig, Messages
from rrarank.llm.chat import ChatForm, complaint, read_reply
from rrarank.llm.http import BadReply, Reply, address_of, open_client, post
from rrarank.llm.tokenizer import ChatTokenizer

if TYPE_CHECKING:
    from httpx2 import AsyncClient

FIRST_WAIT_S, GROWTH, LONGEST_WAIT_S = 0.5, 4, 30.0  # between tries; five waits outlast a server restart
TRIES_UNREACHED = 3  # while the server has never replied
PATIENCE = 8  # consecutive failures that end a job; at least `in_flight`
LETTERS_A_TOKEN = 16  # an answer of more letters than its tokens can have is cut


class Endpoint(LLM):
    """A model behind an OpenAI-compatible endpoint: vLLM, SGLang, llama.cpp, Ollama, OpenAI, CLOVA Studio, …"""

    def __init__(self, config: LLMConfig) -> None:
        check_installed("httpx2")
        super().__init__(config)
        base_url = config.base_url or os.environ.get("OPENAI_BASE_URL", "").strip()
        self._address = address_of(base_url)
        self._where = self._address.name
        self._key = _key(config.api_key_env, needed=not base_url)
        self._form = ChatForm(config, self._where)
        options = config.extra.get("chat_template_kwargs")
        known = options if isinstance(options, Mapping) else {}
        self._tokenizer = ChatTokenizer(config.tokenizer, known) if config.tokenizer else None
        self._reached = False
        self._random = random.Random()  # jitter of the waits; no answer depends on it

    @property
    def count_tokens(self) -> Callable[[str], int] | None:
        return self._tokenizer.count if self._tokenizer else None

    def count_chat(self, messages: Messages) -> int:
        return self._tokenizer.count_chat(messages) if self._tokenizer else 0

    def answers(self, questions: Iterable[tuple[str, Messages]]) -> Iterator[tuple[str, Answer | Failure]]:
        with closing(self._outcomes(iter(questions))) as outcomes:
            yield from _stop_after_failures(outcomes, max(PATIENCE, self.config.in_flight), self._where)

    def _outcomes(self, questions: Iterator[tuple[str, Messages]]) -> Generator[tuple[str, Answer | Failure]]:
        """Send requests in another thread; read questions and raise errors in the caller's."""
        done: SimpleQueue[Future[tuple[str, Answer | Failure]]] = SimpleQueue()
        client = self._client()
        with _background_loop(client.aclose) as loop:
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

    def _client(self) -> AsyncClient:
        key = self._key or "none"
        is_bearer = self.config.key_header.lower() == "authorization"
        headers = {self.config.key_header: f"Bearer {key}" if is_bearer else key}
        return open_client(self._address, headers, self.config.timeout_s, self.config.in_flight)

    async def _ask(self, client: AsyncClient, key: str, messages: Messages) -> tuple[str, Answer | Failure]:
        """Try until there is an answer, a permanent error, or no time left."""
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

    async def _try(self, client: AsyncClient, messages: Messages, seconds: float) -> Answer | _Fault:
        """Ask once; where the endpoint refuses a field of the request, ask again without it."""
        import httpx2

        try:
            async with asyncio.timeout(seconds):  # the client's timeout limits each read, not the whole reply
                sent, reply = await self._post(client, messages)
        except TimeoutError:
            return _Fault(f"no answer within {seconds:.3g} s")
        except httpx2.HTTPError as error:
            return _connection_fault(error)
        except BadReply as error:
            self._reached = True
            return _Fault(str(error), retryable=False)
        self._reached = True
        if reply.status == 200:
            self._form.remember(sent)
            return self._read(reply)
        return _status_fault(reply)

    async def _post(self, client: AsyncClient, messages: Messages) -> tuple[dict[str, Any], Reply]:
        """The request that was sent last, and its reply."""
        sent = self._form.body(messages)
        while True:
            reply = await post(client, self._address.url, json.dumps(sent).encode())
            if (changed := self._form.without_refused(sent, reply)) is None:
                return sent, reply
            sent = changed

    def _read(self, reply: Reply) -> Answer | _Fault:
        """The answer, cut if the endpoint does not keep to the limit of tokens."""
        answer = read_reply(reply.body)
        if isinstance(answer, str):
            return _Fault(answer)
        most = (self.config.longest or 65_536) * LETTERS_A_TOKEN
        return replace(answer, text=answer.text[:most], finish_reason="length") if len(answer.text) > most else answer

    def _is_last(self, fault: _Fault, tries: int) -> bool:
        unreached = fault.unreachable and not self._reached
        return not fault.retryable or tries > self.config.retries or (unreached and tries >= TRIES_UNREACHED)

    def _wait(self, fault: _Fault, tries: int) -> float:
        """Seconds until the next try: the server's Retry-After plus jitter, else exponential backoff with jitter."""
        if fault.wait:
            return fault.wait + self._random.uniform(0, 0.5)
        return self._random.uniform(0, min(FIRST_WAIT_S * GROWTH ** min(tries - 1, 9), LONGEST_WAIT_S))

    def _give_up(self, fault: _Fault, tries: int) -> Failure:
        reason = self._one_line(fault.reason)
        if fault.unreachable and not self._reached:
            if variable := self._address.proxy_variable:
                todo = f"is the proxy of {variable} up? Set NO_PROXY to use none"
            else:
                todo = "does the server run at this base_url?"
            raise MissingResource(f"{self._where}: cannot be reached ({reason}); {todo}")
        asked = f"; asked to wait {fault.wait:.0f} s" if fault.wait else ""
        return Failure(f"{reason}{asked}{f' (tried {tries} times)' if tries > 1 else ''}", fault.retryable)

    def _check_fatal(self, fault: _Fault) -> None:
        if 300 <= fault.status < 400:
            raise MissingResource(f"{self._where}: {self._one_line(fault.reason)}; redirects are not followed")
        if hint := _FATAL.get(fault.status):
            hint = hint.format(model=self.config.model, key=self.config.api_key_env)
            raise MissingResource(f"{self._where}: {hint} ({self._one_line(fault.reason)})")

    def _one_line(self, text: str) -> str:
        """Shorten the text to one printable line and remove the key, which some servers repeat in their errors."""
        text = text.replace(self._key, "***") if len(self._key) >= 8 else text
        text = printable(" ".join(text.split()))
        return text if len(text) <= 300 else f"{text[:299]}…"


def _key(variable: str, needed: bool) -> str:
    key = os.environ.get(variable, "").strip()
    if not key and needed:
        raise MissingPrerequisite(
            f"{variable} is not set; export a key, or give the base_url of a server that needs none"
        )
    if not (key.isascii() and key.isprintable()):
        raise RrarankError(f"{variable} contains a character that no key has; export it again")
    return key


# -- errors ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Fault:
    """How one try failed. `wait`: seconds the server asks to wait; `status`: HTTP status, 0 without a reply."""

    reason: str
    retryable: bool = True
    wait: float = 0.0
    status: int = 0
    unreachable: bool = False


_FATAL = {
    401: "the key is refused; set {key} to a valid one",
    402: "the account has no credit left",
    404: "no model {model!r}, or no such URL; a base_url usually ends in /v1",
}
_TRANSIENT = {408, 409, 425, 429}  # and 5xx: the SDK's list, and 425 (RFC 8470)


def _status_fault(reply: Reply) -> _Fault:
    status = reply.status
    if 300 <= status < 400:
        return _Fault(f"HTTP {status}: redirects to {reply.headers.get('location', 'nowhere')}", False, status=status)
    try:
        body = json.loads(reply.body)
    except (ValueError, RecursionError):
        body = reply.body
    error = body.get("error", body) if isinstance(body, Mapping) else body
    reason = f"HTTP {status}: {complaint(error)}"
    if isinstance(error, Mapping) and error.get("code") == "insufficient_quota":
        return _Fault(reason, retryable=False, status=402)  # OpenAI sends it with 429, but waiting does not help
    return _Fault(reason, status in _TRANSIENT or status >= 500, _retry_after(reply.headers), status)


def _connection_fault(error: Exception) -> _Fault:
    kind = type(error).__name__
    unreachable = kind in {"ConnectError", "ConnectTimeout", "ProxyError", "UnsupportedProtocol"}
    return _Fault(f"{kind}: {error}" if str(error) else kind, unreachable=unreachable)


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds from `retry-after-ms` (OpenAI) or `Retry-After`, which is seconds or a date (RFC 9110, 10.2.3)."""
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


def _stop_after_failures(
    outcomes: Iterable[tuple[str, Answer | Failure]], patience: int, where: str
) -> Iterator[tuple[str, Answer | Failure]]:
    """Yield the outcomes until `patience` consecutive failures mean that the server is down or refuses all."""
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
            raise MissingResource(f"{where}: {patience} failures in a row ({outcome.reason}); is the server healthy?")
        if len(failures) == patience and not answered and len(set(failures)) == 1:
            raise RrarankError(f"{where}: the first {patience} questions are all refused ({outcome.reason})")


# -- an event loop in another thread ----------------------------------------------------------------------------------


@contextmanager
def _background_loop(close: Callable[[], Coroutine[Any, Any, None]]) -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop in its own thread, so that Ctrl-C reaches the caller at once and the caller may run a loop too
    (as Jupyter does). On exit all tasks are cancelled, then `close` runs."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=_serve, args=(loop, close), name="rrarank-llm", daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=1.0)  # a connection that does not close must not block Ctrl-C


def _serve(loop: asyncio.AbstractEventLoop, close: Callable[[], Coroutine[Any, Any, None]]) -> None:
    loop.run_forever()
    loop.run_until_complete(_cancel_and_close(asyncio.all_tasks(loop), close))
    loop.close()


async def _cancel_and_close(tasks: Iterable[asyncio.Task[Any]], close: Callable[[], Coroutine[Any, Any, None]]) -> None:
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await close()
