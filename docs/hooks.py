"""MkDocs hook: makes the command-line pages from the argparse parsers and the API page from the public names."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import rrarank
from rrarank.cli import VERBS

ROOT = Path(__file__).resolve().parents[1]
JOBS = "Commands from Python"
ROOMS = {  # room of the public name -> its heading on the API page, in this order; the others are verbs
    "sources": "Read inputs",
    "engine": "Re-rank",
    "measures": "Evaluate and fuse",
    "data": "Data and files",
    "errors": "Errors",
}
API = """# Python API

Everything here is imported from `rrarank`. Names load on first use, so `import rrarank` is fast.

The functions under [Commands from Python](#commands-from-python) do what the command of the same name does, with the
same checks, resume, sidecar and errors: build the job, then pass it to the function.

"""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fill the menu entry `Command line` with a page a verb."""
    for section in config.nav:
        for entry in next(iter(section.values())):
            if isinstance(entry, dict) and "Command line" in entry:
                entry["Command line"] = ["command-line/index.md", *(f"command-line/{verb}.md" for verb in VERBS)]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    pages = {f"command-line/{verb}.md": verb_page(verb) for verb in VERBS}
    pages["command-line/index.md"] = overview()
    pages["python-api.md"] = api_page()
    for place, text in pages.items():
        files.append(File.generated(config, place, content=text))
    files.append(File.generated(config, "changelog.md", abs_src_path=str(ROOT / "CHANGELOG.md")))
    return files


# -- command line -----------------------------------------------------------------------------------------------------


def parser_of(verb: str) -> argparse.ArgumentParser:
    home = f"rrarank.{verb}"
    if (ROOT / "rrarank" / verb).is_dir():
        home += ".__main__"
    return import_module(home).parser()  # type: ignore[no-any-return]


def overview() -> str:
    rows = "\n".join(f"| [`{verb}`]({verb}.md) | {_escape(summary)} |" for verb, summary in VERBS.items())
    return f"""# Command line

`rrarank VERB` and `python -m rrarank.VERB` are the same command. Every verb prints its flags with `--help`.
Results go to stdout, messages to stderr. What the exit codes mean: [Sidecars and exit codes](../concepts/sidecars.md).
To complete verbs and flags with the Tab key: `source <(rrarank --print-completion bash)`, or `zsh`.

| verb | what it does |
|---|---|
{rows}
"""


def verb_page(verb: str) -> str:
    return f"# {verb}\n\n" + "\n\n".join(_sections(parser_of(verb), 2))


def _sections(parser: argparse.ArgumentParser, level: int) -> Iterator[str]:
    yield _escape(parser.description or "")
    acts = next((action for action in parser._actions if isinstance(action, argparse._SubParsersAction)), None)
    yield f"```text\n{_usage(parser, acts)}\n```"
    for group in parser._action_groups:
        shown = [action for action in group._group_actions if action.help != argparse.SUPPRESS and action is not acts]
        shown = [action for action in shown if not isinstance(action, argparse._HelpAction)]
        if shown:
            yield f"{'#' * level} {_title(group)}"
            yield _sentence(group.description or "")
            yield "\n\n".join(_option(parser, action) for action in shown)
    for name, act in (acts.choices if acts else {}).items():
        yield f"{'#' * level} {name}"
        yield from _sections(act, level + 1)


def _title(group: argparse._ArgumentGroup) -> str:
    title = {"positional arguments": "Arguments", "options": "Options"}.get(group.title or "", group.title or "")
    return _escape(title[:1].upper() + title[1:])


def _usage(parser: argparse.ArgumentParser, acts: argparse.Action | None) -> str:
    """What must be typed; the rest is `[options]`."""
    parts = [parser.prog]
    for action in parser._actions:
        if action is acts:
            parts.append(str(action.metavar or action.dest).upper())
        elif not action.option_strings or action.required:
            parts += [*action.option_strings[:1], _value(action)]
    return " ".join([*parts, "[options]"] if acts is None else [*parts, "…"])


def _option(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    value = _value(action)
    names = action.option_strings or [value]
    typed = ", ".join(f"`{name} {value}`" if action.option_strings and value else f"`{name}`" for name in names)
    text = argparse.HelpFormatter(parser.prog)._expand_help(action) if action.help else ""
    facts = [_sentence(text)]
    if action.choices and action.metavar:
        facts.append(f"One of {', '.join(f'`{choice}`' for choice in action.choices)}.")
    if action.required and action.option_strings:
        facts.append("Required.")
    if default := _default(action):
        facts.append(f"Default: `{default}`.")
    return f"{typed}\n:   {' '.join(fact for fact in facts if fact)}"


def _value(action: argparse.Action) -> str:
    """The placeholder of the value as the help prints it; empty for a switch."""
    if action.nargs == 0:
        return ""
    names = action.metavar or ("|".join(map(str, action.choices)) if action.choices else action.dest.upper())
    if isinstance(names, tuple):
        return " ".join(names)
    return f"{names} …" if action.nargs in ("+", "*") else str(names)


def _default(action: argparse.Action) -> str:
    value: Any = action.default
    told = "(default:" in (action.help or "")
    if isinstance(value, list | tuple):
        value = " ".join(map(str, value)) if any(value) else ""
    return "" if told or not value or value == argparse.SUPPRESS else str(value)


def _sentence(text: str) -> str:
    """With a capital letter, unless it opens with an identifier, and a full stop."""
    if re.match(r"[a-z]+(?=[ ;:.]|$)", text):
        text = text[0].upper() + text[1:]
    return _escape(text if not text or text.endswith((".", "?")) else f"{text}.")


def _escape(text: str) -> str:
    """Plain text as Markdown: `<`, `*`, `_` and the like show as themselves; what is in backquotes stays code."""
    parts = re.split(r"(`[^`]+`)", text)
    plain = {"<": "&lt;", ">": "&gt;"} | {character: f"\\{character}" for character in "\\*_[]|"}
    return "".join(part if part.startswith("`") else part.translate(str.maketrans(plain)) for part in parts)


# -- Python API -------------------------------------------------------------------------------------------------------


def api_page() -> str:
    rooms: dict[str, list[str]] = {heading: [] for heading in (*ROOMS.values(), JOBS)}
    for name, home in rrarank._HOME_OF.items():  # without loading any of them
        rooms[ROOMS.get(home.split(".")[0], JOBS)].append(name)
    sections = [
        f"## {heading}\n\n" + "\n\n".join(f"::: rrarank.{name}" for name in names) for heading, names in rooms.items()
    ]
    return API + "\n\n".join(sections)
