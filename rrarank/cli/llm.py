"""What the verbs that ask an LLM share: flags, progress, cost, and the message about unanswered questions."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from rrarank.cli.parser import positive
from rrarank.errors import is_shown, say, shown
from rrarank.llm.base import Answer, Failure, LLMConfig, Messages
from rrarank.storage.files import is_file
from rrarank.storage.journal import journal_path
from rrarank.storage.sidecar import is_unfinished, read_sidecar

FREE = (0.0, 0.0)
"""Price of a million tokens asked and of a million answered."""


def add_llm(group: argparse._ActionsContainer, *, max_tokens: int = LLMConfig.max_tokens) -> None:
    """Add every flag that `llm_config` and `follow` read, except --model."""
    default = LLMConfig("-")
    group.add_argument("--base-url", default="", help="an OpenAI-compatible endpoint (default: OPENAI_BASE_URL)")
    group.add_argument(
        "--api-key-env", default=default.api_key_env, metavar="VAR", help="environment variable with the key"
    )
    group.add_argument("--key-header", default=default.key_header, metavar="NAME", help="its header (Azure: api-key)")
    group.add_argument(
        "--temperature", type=_temperature, default=default.temperature, help="0: greedy; none: not sent"
    )
    group.add_argument("--max-tokens", type=_tokens, default=max_tokens, help="longest answer; 0: not sent")
    group.add_argument(
        "--in-flight", type=positive, default=default.in_flight, help="maximum number of concurrent requests"
    )
    group.add_argument("--timeout", type=float, default=default.timeout_s, help="seconds per try")
    group.add_argument(
        "--total-timeout", type=float, default=default.total_s, help="seconds per question, including retries"
    )
    group.add_argument("--retries", type=int, default=default.retries, help="tries after the first")
    group.add_argument("--extra", type=_json_object, metavar="JSON", help="more fields of the request's JSON body")
    group.add_argument(
        "--price", type=float, nargs=2, metavar=("IN", "OUT"), help="price per million tokens asked and answered"
    )


def _temperature(text: str) -> float | None:
    return None if text == "none" else float(text)


def _tokens(text: str) -> int:
    return 0 if text == "0" else positive(text)


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"{text!r} is not a JSON object")
    return value


def llm_config(flags: argparse.Namespace, model: str, base_url: str, api_key_env: str = "") -> LLMConfig:
    return LLMConfig(
        model,
        base_url,
        api_key_env or flags.api_key_env,
        flags.key_header,
        flags.temperature,
        flags.max_tokens,
        in_flight=flags.in_flight,
        timeout_s=flags.timeout,
        total_s=flags.total_timeout,
        retries=flags.retries,
        extra=flags.extra or {},
    )


def follow(
    outcomes: Iterable[tuple[str, Answer | Failure | None]],
    price: Sequence[float] = FREE,
    verdicts: Mapping[str, int] | None = None,
) -> dict[str, Failure]:
    """Exhaust the outcomes behind a progress bar, report the tokens, and return the failures.

    Args:
        verdicts: verdict -> number of answers so far, for the progress bar.
    """
    tokens, failures = Counter[str](), {}
    with tqdm(unit=" answers", disable=None) as bar:
        for name, outcome in outcomes:
            bar.update()
            if isinstance(outcome, Answer):
                tokens.update(prompt=outcome.prompt_tokens, answer=outcome.completion_tokens)
            elif outcome:
                failures[name] = outcome
                tokens["failed"] += 1
            spent = {"cost": cost(tokens, price).rpartition(" ")[2]} if any(price) else {}
            bar.set_postfix({**tokens, **(verdicts or {}), **spent}, refresh=False)
    if tokens:
        say(f"{tokens['prompt']:,} tokens asked, {tokens['answer']:,} answered{cost(tokens, price)}")
    return failures


def show_question(messages: Messages) -> None:
    """Print a prompt as JSON, for --dry-run; what could change a terminal is escaped, as JSON may."""
    text = json.dumps(messages, ensure_ascii=False, indent=2)
    print("".join(letter if letter == "\n" or is_shown(letter) else json.dumps(letter)[1:-1] for letter in text))


def cost(tokens: Mapping[str, int], price: Sequence[float]) -> str:
    """`, cost 1.2345` for the tokens of `prompt` and `answer`; empty without a price."""
    total = (tokens["prompt"] * price[0] + tokens["answer"] * price[1]) / 1e6
    return f", cost {total:,.4f}" if any(price) else ""


def unanswered(what: str, failed: Sequence[str], failures: Mapping[str, Failure], output: str) -> str:
    """The message about questions without an answer.

    Args:
        what: their kind, such as `queries`.
    """
    why = Counter(failures[name].reason for name in failed if name in failures).most_common(1)
    reason = f", mostly: {why[0][0]}" if why else ""
    message = f"{len(failed):,} {what} have no answer ({shown(failed)}{reason})"
    if not is_file(output):
        return f"{message}; give --output FILE to ask again only for these"
    return f"{message}; {journal_path(output)} keeps the other answers: the same command asks only for these"


def is_partial(output: str, config: Mapping[str, object]) -> bool:
    """Whether the output belongs to a job with failed answers, or one killed before it wrote the sidecar; the same
    command continues it.

    Args:
        config: this job's; the output of a job with another config is not continued.
    """
    sidecar = read_sidecar(Path(output)) if Path(output).is_file() else None
    if sidecar is None:
        return is_unfinished(output)
    same = sidecar.content.get("config") == json.loads(json.dumps(config))
    return same and bool(sidecar.content.get("failed"))
