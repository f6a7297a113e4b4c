"""The server's settings: where it listens, who may ask, and how much a request may ask for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

KEYS_VARIABLE = "RRARANK_API_KEYS"
PREFIX = "RRARANK_"  # of the environment variables that set the fields below, such as RRARANK_PORT

Count = Annotated[int, Field(ge=1, lt=2**31)]


class ServeConfig(BaseModel):
    """Each field is a flag of `rrarank.serve` and an environment variable; the descriptions are the flags' help."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(default="127.0.0.1", description="name or address to listen on")
    port: int = Field(
        default=8080, ge=0, lt=2**16, description="port to listen on; 0: any free one. The URL is printed"
    )
    keys: str = Field(default="", description=f"file of API keys, one a line (default: the variable {KEYS_VARIABLE})")
    no_keys: bool = Field(default=False, description="accept requests from everyone who reaches --host")
    models: Path | None = Field(
        default=None, description="TOML or YAML file of models, each under the name that requests give"
    )
    index: Path | None = Field(default=None, description="Lucene index with stored texts, for /v1/search")
    cors: str = Field(
        default="", description="origins whose pages may ask, such as https://a.example, separated by spaces; * for all"
    )
    experiment: Path | None = Field(
        default=None, description="YAML file of an experiment: for users in it, rankers compete by its design"
    )
    log: Path | None = Field(
        default=None, description="folder for a log of the queries of users and of their events, in UBI's schema"
    )
    log_text: bool = Field(default=False, description="log texts too: those of queries, and those of events")
    log_addresses: bool = Field(default=False, description="log the clients' addresses too")
    log_fsync: Literal["always", "never"] = Field(
        default="always",
        description="always: what is acknowledged survives a crash of the machine; never: only one of the server",
    )
    log_max_bytes: Count = Field(
        default=100_000_000, description="most bytes of a file of the log; a new one begins then, and each day"
    )
    workers: Annotated[int, Field(ge=1, le=1024)] = Field(
        default=1, description="processes behind the port, each with models, a queue and limits of its own"
    )
    otel: bool = Field(
        default=False, description="send spans to OpenTelemetry, as the variables OTEL_… say; needs the extra otel"
    )
    queue: Count = Field(default=64, description="most requests that wait")
    # Cohere advises at most 1,000 documents, and a first stage gives as many.
    max_documents: Count = Field(default=1_000, description="most documents of a request")
    max_characters: Count = Field(
        default=1_000_000, description="most characters of a request's query and documents together"
    )
    max_tokens: Count = Field(default=300_000, description="most tokens of a request's pairs, where pairs are scored")
    max_bytes: Count = Field(default=8_000_000, description="most bytes of a request's body")
    max_memory: Count = Field(default=64_000_000, description="most bytes of all bodies above 64 KB together")
    connections: Count = Field(default=1_000, description="most connections; a new one replaces an idle one")
    timeout: float = Field(
        default=30.0, gt=0, lt=1e6, description="most seconds for a request, reading its body included"
    )
