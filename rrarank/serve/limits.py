"""How much a request may ask for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Each is a flag of `rrarank.serve`.

    Args:
        queue: most requests that wait.
        documents: most documents of a request (1,000: what Cohere advises, and a first stage gives).
        characters: most characters of a request's query and documents together (1,000 passages of some 1,000).
        body_bytes: most bytes of a request's body (the characters in UTF-8, and JSON around them).
        timeout_s: most seconds for a request, from its first byte read to its answer.
    """

    queue: int = 64
    documents: int = 1_000
    characters: int = 1_000_000
    body_bytes: int = 8_000_000
    timeout_s: float = 30.0
