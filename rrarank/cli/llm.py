"""What verbs that ask an LLM share: flags, progress, cost, and what is said of questions without an answer."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from rrarank.cli.flags import positive
from rrarank.cli.verbs import say
from rrarank.errors import shown
from rrarank.llm.base import Answer, Failure, LLMConfig
from rrarank.storage.files import is_file
from rrarank.storage.journal import journal_path
from rrarank.storage.sidecar import is_unfinished, read_sidecar


def add_llm(group: argparse._ActionsContainer, *, max_tokens: int = LLMConfig.max_tokens) -> None:
    """All that `llm_config` and `follow` read, but for --model."""
    default = LLMConfig("-")
    group.add_argument("--base-url", default="", help="of an OpenAI-compatible endpoint (default: OPENAI_BASE_URL)")
    group.add_argument("--api-key-env", default=default.api_key_env, metavar="VAR", help="variable that holds the key")
    group.add_argument(
        "--temperature", type=_temperature, default=default.temperature, help="0: the likeliest answer; none: not sent"
    )
    group.add_argument("--max-tokens", type=_tokens, default=max_tokens, help="longest answer; 0: not sent")
    group.add_argument("--in-flight", type=positive, default=default.in_flight, help="questions asked at once")
    group.add_argument("--timeout", type=float, default=default.timeout_s, help="seconds for one try")
    group.add_argument(
        "--total-timeout", type=float, default=default.total_s, help="seconds for one question, all tries"
    )
    group.add_argument("--retries", type=int, default=default.retries, help="tries after the first")
    group.add_argument("--extra", type=_json_object, default={}, metavar="JSON", help="more of the request's body")
    group.add_argument(
        "--price", type=float, nargs=2, default=(0.0, 0.0), metavar=("IN", "OUT"), help="per million tokens"
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
        flags.temperature,
        flags.max_tokens,
        in_flight=flags.in_flight,
        timeout_s=flags.timeout,
        total_s=flags.total_timeout,
        retries=flags.retries,
        extra=flags.extra,
    )


def follow(
    outcomes: Iterable[tuple[str, Answer | Failure | None]],
    price: tuple[float, float] = (0.0, 0.0),
    verdicts: Mapping[str, int] | None = None,
) -> dict[str, Failure]:
    """Have everything answered, and say how it goes; returns the failures.

    Args:
        verdicts: verdict -> how many answers so far; shown as it grows.
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


def cost(tokens: Mapping[str, int], price: tuple[float, float]) -> str:
    """`, cost 1.2345` of the tokens of `prompt` and `answer`; empty without a price per million."""
    total = (tokens["prompt"] * price[0] + tokens["answer"] * price[1]) / 1e6
    return f", cost {total:,.4f}" if any(price) else ""


def unanswered(what: str, failed: Sequence[str], failures: Mapping[str, Failure], output: str) -> str:
    """The message about questions without an answer.

    Args:
        what: has no answer, such as `queries`.
    """
    why = Counter(failures[name].reason for name in failed if name in failures).most_common(1)
    reason = f", mostly: {why[0][0]}" if why else ""
    said = f"{len(failed):,} {what} have no answer ({shown(failed)}{reason})"
    if not is_file(output):
        return f"{said}; give --output FILE, to ask again only for these"
    return f"{said}; the answers of the others are kept in {journal_path(output)}: the same command asks only for these"


def is_partial(output: str, config: Mapping[str, object]) -> bool:
    """Whether the output is of a job that some answers failed, or that was killed before its sidecar was there: the
    same command goes on with it.

    Args:
        config: this job's; of another one the output is not continued.
    """
    sidecar = read_sidecar(Path(output)) if Path(output).is_file() else None
    if sidecar is None:
        return is_unfinished(output)
    same = sidecar.content.get("config") == json.loads(json.dumps(config))
    return same and bool(sidecar.content.get("failed"))
