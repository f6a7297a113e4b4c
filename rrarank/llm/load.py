"""Load an LLM by its configuration: a model folder, or a model at an endpoint."""

from __future__ import annotations

from pathlib import Path

from rrarank.llm.base import LLM, LLMConfig


def load_llm(config: LLMConfig) -> LLM:
    """A local model if `model` is a folder with a config.json and there is no base_url; else an endpoint."""
    if not config.base_url and (Path(config.model).expanduser() / "config.json").is_file():
        from rrarank.llm.local import LocalModel

        return LocalModel(config)
    from rrarank.llm.endpoint import Endpoint

    return Endpoint(config)
