"""Remove a model's thoughts from its answer: the text between thought marks, and what a final mark supersedes."""

from __future__ import annotations

import json
import re

_NAME = (
    r"(?:[a-z]+:)?(?:think|thinking|thoughts?|reason|reasoning|analysis|reflection|scratchpad|rationale|deliberation"
    r"|inner_monologue|chain_of_thought|cot)"
)
_MARK = re.compile(
    rf"(?P<open><{_NAME}(?:\s[^<>]*)?>|\[{_NAME}\]|<\|{_NAME}\|>|◁{_NAME}▷|<\|(?:begin|start)_?(?:of_)?{_NAME}\|>"
    rf"|<\|channel\|>(?:analysis|commentary)|<unused94>)"
    rf"|(?P<close></{_NAME}\s*>|\[/{_NAME}\]|<\|/{_NAME}\|>|◁/{_NAME}▷|<\|end_?(?:of_)?{_NAME}\|>"
    rf"|<\|channel\|>final(?:<\|message\|>)?|<unused95>)",
    re.IGNORECASE,
)
_TURN = re.compile(  # the model's next turn supersedes the one before
    r"<\|(?:im_start|start)\|>assistant|<\|assistant\|>|\[\|assistant\|\]|<start_of_turn>model"
    r"|<\|start_header_id\|>assistant<\|end_header_id\|>|(?<=[a-z.!?])assistantfinal",
    re.IGNORECASE,
)
_ANSWER = re.compile(r"<(/?)answer>", re.IGNORECASE)


def without_thought(answer: str) -> tuple[str, bool]:
    """The answer without the model's thoughts, and whether a thought is left open, as in an answer that was cut off.

    The last `<answer>…</answer>` is the answer, whatever else there is. Where all of the answer is a JSON object, a
    mark is a part of a string.
    """
    if _is_object(answer):
        return answer, False
    said = next((turn for turn in reversed(_TURN.split(answer)) if turn.strip()), "")
    text, is_open = _outside_thoughts(said)
    final = _tagged(text)
    if final is None and is_open:
        final = _tagged(said)  # a model that forgot to end its thought
        is_open = is_open and final is None
    return (text if final is None else final), is_open


def _is_object(text: str) -> bool:
    if not text.lstrip().startswith("{"):
        return False
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _outside_thoughts(text: str) -> tuple[str, bool]:
    """A mark that closes no thought ends one that began before the text, as some chat templates have it."""
    kept: list[str] = []
    start, in_thought = 0, False
    for mark in _MARK.finditer(text):
        if mark["open"]:
            if not in_thought:
                kept.append(text[start : mark.start()])
            in_thought = True
        else:
            if not in_thought:
                kept.clear()
            in_thought, start = False, mark.end()
    return "".join(kept if in_thought else [*kept, text[start:]]), in_thought


def _tagged(text: str) -> str | None:
    """The last tagged answer with any content; one without an end tag counts only if it contains a number."""
    found, start = None, -1
    for tag in _ANSWER.finditer(text):
        if not tag[1]:
            start = tag.end()
        elif start >= 0:
            if text[start : tag.start()].strip():
                found = text[start : tag.start()]
            start = -1
    if start >= 0 and re.search("[0-9]", text[start:]):
        return text[start:]
    return found
