"""Who may ask: those with an API key; without any keys, those on this machine."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from rrarank.errors import RrarankError

VARIABLE = "RRARANK_API_KEYS"
SHORTEST = 16  # characters: 2**64 guesses and more, if they are random hexadecimal digits


class Keys:
    """The keys a server knows, held as digests; without any, everyone may ask."""

    def __init__(self, keys: Sequence[str] = ()) -> None:
        self._digests = [_digest(key.encode()) for key in keys]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def allow(self, offered: bytes) -> bool:
        """In a time that does not tell how much of the key is right, nor which one it is."""
        return any([hmac.compare_digest(_digest(offered), known) for known in self._digests])  # noqa: C419  # all of them


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def read_keys(path: str = "") -> Keys:
    """Of a file, one a line; without one, of the environment's RRARANK_API_KEYS, white space between them.

    Raises:
        RrarankError: the file holds none, or a key is shorter than 16 characters; keys are never shown.
    """
    where = path or VARIABLE
    try:
        keys = (Path(path).read_text(encoding="utf-8-sig") if path else os.environ.get(VARIABLE, "")).split()
    except UnicodeDecodeError:
        raise RrarankError(f"{where}: not UTF-8; expected one API key a line") from None
    if path and not keys:
        raise RrarankError(f"{where}: no API key; expected one a line")
    for number, key in enumerate(keys, start=1):
        if len(key) < SHORTEST:
            raise RrarankError(f"{where}: key {number} has {len(key)} characters, expected {SHORTEST} at least")
    return Keys(keys)


def is_loopback(host: str) -> bool:
    """Whether a name or address can only mean this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def names_this_machine(host_header: str) -> bool:
    """False for the name of a web page that had its own name resolve to this machine (DNS rebinding)."""
    try:
        return is_loopback(urlsplit(f"//{host_header}").hostname or "")
    except ValueError:
        return False
