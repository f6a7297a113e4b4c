"""Who may ask: clients with an API key or, if the server has no keys, clients on this machine."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from rrarank.errors import RrarankError
from rrarank.serve.config import KEYS_VARIABLE

SHORTEST = 16  # characters: at least 2**64 guesses, if they are random hexadecimal digits


class Keys:
    """The server's API keys, held as digests."""

    def __init__(self, keys: Sequence[str] = ()) -> None:
        self._digests = [_digest(key.encode()) for key in keys]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def allow(self, offered: bytes) -> bool:
        """Compares with every key in constant time, so that timing does not tell how much of a key is right."""
        return any([hmac.compare_digest(_digest(offered), known) for known in self._digests])  # noqa: C419


def offered_key(headers: Mapping[str, str]) -> bytes:
    """The key in a request's headers: `authorization: Bearer KEY` or `x-api-key: KEY`."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return (key.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")).encode("latin-1")


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def read_keys(path: str = "") -> Keys:
    """The keys of a file, one a line; without a file, those of RRARANK_API_KEYS, separated by white space.

    Raises:
        RrarankError: the file has no key, or a key is shorter than 16 characters; the message never shows a key.
    """
    where = path or KEYS_VARIABLE
    try:
        text = Path(path).read_text(encoding="utf-8-sig") if path else os.environ.get(KEYS_VARIABLE, "")
    except UnicodeDecodeError:
        raise RrarankError(f"{where}: not UTF-8; expected one API key a line") from None
    keys = text.split()
    if path and not keys:
        raise RrarankError(f"{where}: no API key; expected one a line")
    for number, key in enumerate(keys, start=1):
        if len(key) < SHORTEST:
            raise RrarankError(f"{where}: key {number} has {len(key)} characters, expected {SHORTEST} at least")
    return Keys(keys)


def is_loopback(host: str) -> bool:
    """Whether a name or address always means this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def names_this_machine(host_header: str) -> bool:
    """False for the name of a web page that resolves its own name to this machine (DNS rebinding)."""
    try:
        return is_loopback(urlsplit(f"//{host_header}").hostname or "")
    except ValueError:
        return False
