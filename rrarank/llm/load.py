"""An LLM by its configuration: a folder on disk, or the name that an endpoint knows."""

from __future__ import annotations

from pathlib import Path

from rrarank.llm.base import LLM, LLMConfig


def load_llm(config: LLMConfig) -> LLM:
    """A folder with a config.json is loaded, unless there is a base_url; any other model is asked at an endpoint."""
    if not config.base_url and (Path(config.model).expanduser() / "config.json").is_file():
        from rrarank.llm.local import LocalModel

        return LocalModel(config)
    from rrarank.llm.endpoint import Endpoint

    return Endpoint(config)
