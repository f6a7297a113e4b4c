"""Who may ask: clients with an API key or, if the server has no keys, clients on this machine."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

from rrarank.errors import RrarankError
from rrarank.serve.config import KEYS_VARIABLE

SHORTEST = 16  # characters: at least 2**64 guesses, if they are random hexadecimal digits


@dataclass(frozen=True)
class Key:
    """Whose a request is, and how much its requests may take.

    Args:
        number: the key's place in the file, from 1; 0: the server has no keys.
        queue: most of its requests that wait; None: as many as wait at all.
        documents: most documents of its requests that wait.
        max_bytes: most bytes of a body of its requests.
    """

    number: int = 0
    queue: int | None = None
    documents: int | None = None
    max_bytes: int | None = None


NOBODY = Key()
LIMITS = tuple(one.name for one in fields(Key) if one.name != "number")
_LIMIT = re.compile(r"([a-z-]+)=([0-9]+)")


class Keys:
    """The server's API keys, held as digests."""

    def __init__(self, keys: Mapping[str, Key] = MappingProxyType({})) -> None:
        self._known = [(_digest(text.encode()), key) for text, key in keys.items()]

    def __len__(self) -> int:
        return len(self._known)

    def find(self, offered: bytes) -> Key | None:
        """Compares with every key in constant time, so that timing does not tell how much of a key is right."""
        digest = _digest(offered)
        found = [key for known, key in self._known if hmac.compare_digest(digest, known)]
        return found[0] if found else None


def offered_key(headers: Mapping[str, str]) -> bytes:
    """The key in a request's headers: `authorization: Bearer KEY` or `x-api-key: KEY`."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return (key.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")).encode("latin-1")


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def read_keys(path: str = "") -> Keys:
    """The keys of a file, one a line, each with its limits; without a file, those of RRARANK_API_KEYS.

    Raises:
        RrarankError: the file has no key, a key is shorter than 16 characters, or a limit is unknown; the message
            never shows a key.
    """
    where = path or KEYS_VARIABLE
    try:
        text = Path(path).read_text(encoding="utf-8-sig") if path else os.environ.get(KEYS_VARIABLE, "")
    except UnicodeDecodeError:
        raise RrarankError(f"{where}: not UTF-8; expected one API key a line") from None
    keys: dict[str, Key] = {}
    for word in text.split():
        if keys and (limit := _LIMIT.fullmatch(word)):
            *_, last = keys
            keys[last] = _limited(keys[last], limit[1], int(limit[2]), where)
        elif len(word) < SHORTEST:
            number = len(keys) + 1
            raise RrarankError(f"{where}: key {number} has {len(word)} characters, expected {SHORTEST} at least")
        else:
            keys.setdefault(word, Key(len(keys) + 1))
    if path and not keys:
        raise RrarankError(f"{where}: no API key; expected one a line")
    return Keys(keys)


def _limited(key: Key, name: str, most: int, where: str) -> Key:
    field = name.replace("-", "_")
    if field not in LIMITS or not most:
        known = ", ".join(f"{one.replace('_', '-')}=N" for one in LIMITS)
        raise RrarankError(f"{where}: key {key.number}: {name[:40]}={most}; expected a limit from 1 (known: {known})")
    return replace(key, **{field: most})


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
