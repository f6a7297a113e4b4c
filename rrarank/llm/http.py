"""HTTP to an endpoint: its URL, proxy and certificates, and replies of bounded size from no other host."""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from rrarank.errors import MissingPrerequisite, RrarankError
from rrarank.extras import importing

if TYPE_CHECKING:
    from httpx2 import AsyncClient

OPENAI = "https://api.openai.com/v1"
CONNECT_S = 10.0  # time limit of a connection
MOST_BYTES = 8_000_000  # of a reply, unpacked: a hundred thousand tokens with their log probabilities


class BadReply(Exception):
    """A reply that is not read to its end: too large, or packed in an unexpected way."""


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: str


@dataclass(frozen=True)
class Address:
    """Where requests go.

    Args:
        url: of chat completions.
        name: the base URL without its query, for messages.
        proxy: URL of the proxy; empty: none.
        proxy_variable: the environment variable that names the proxy.
    """

    url: str
    name: str
    proxy: str = ""
    proxy_variable: str = ""


def address_of(base_url: str) -> Address:
    """The address of a base URL such as `http://localhost:8000/v1`, whose query (`?api-version=…`) is kept.

    Raises:
        RrarankError: not a URL, or one with a password; the message does not repeat it.
    """
    parts = _split(base_url or OPENAI)
    path = parts.path.rstrip("/")
    url = parts._replace(path=f"{path}/chat/completions", fragment="").geturl()
    name = parts._replace(query="", fragment="").geturl() if base_url else "OpenAI's API"
    return Address(url, name, *_proxy(parts.scheme, parts.hostname or ""))


def _split(url: str) -> SplitResult:
    url = url.strip()
    try:
        parts = urlsplit(url)
        is_valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_valid = False
    if not (is_valid and re.fullmatch("[!-~]+", url)):
        raise RrarankError("base_url is not a URL; expected for example http://localhost:8000/v1")
    if parts.username or parts.password:
        raise RrarankError("base_url contains a user or password; put the key into the variable that api_key_env names")
    return parts


def _proxy(scheme: str, host: str) -> tuple[str, str]:
    """The proxy that the environment names for a host, and the variable; none for this machine."""
    if is_loopback(host) or proxy_bypass(host):
        return "", ""
    proxies = getproxies_environment()
    kind = scheme if scheme in proxies else "all"
    proxy = proxies.get(kind, "").strip()
    if not proxy:
        return "", ""
    variable = next(name for name in (f"{kind}_proxy", f"{kind}_proxy".upper()) if os.environ.get(name))
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    protocol = urlsplit(proxy).scheme
    without = f"unset it, or set NO_PROXY={host} to use none"
    if protocol in {"socks5", "socks5h"} and find_spec("socksio") is None:
        raise MissingPrerequisite(f"{variable} names a SOCKS proxy, which needs: pip install socksio; or {without}")
    if protocol not in {"http", "https", "socks5", "socks5h"}:
        raise RrarankError(f"{variable}: a proxy of {protocol}://, expected http://, https:// or socks5://; {without}")
    return proxy, variable


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.rstrip(".").lower() in {"localhost", "localhost.localdomain"} or host.lower().endswith(".localhost")


def open_client(address: Address, headers: Mapping[str, str], timeout_s: float, connections: int) -> AsyncClient:
    """
    Raises:
        RrarankError: the URL, the proxy or the certificates of the environment cannot be used.
    """
    with importing():
        import httpx2
    try:
        return httpx2.AsyncClient(
            headers={**headers, "Accept-Encoding": "identity", "Content-Type": "application/json"},
            verify=_certificates() if address.url.startswith("https:") else False,
            proxy=address.proxy or None,
            timeout=httpx2.Timeout(timeout_s, connect=min(CONNECT_S, timeout_s)),
            limits=httpx2.Limits(max_connections=connections, max_keepalive_connections=connections),
            follow_redirects=False,  # passages and key go to no other host
            trust_env=False,  # proxies and certificates are read here, so that errors can name the variable
        )
    except (httpx2.InvalidURL, ValueError) as error:
        where = address.proxy_variable or "base_url"
        raise RrarankError(f"{where}: not a URL that can be used ({error})") from error


def _certificates() -> ssl.SSLContext | bool:
    """The certificates that SSL_CERT_FILE or SSL_CERT_DIR name; True: the library's own."""
    file, folder = (os.environ.get(name) or None for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"))
    if not (file or folder):
        return True
    if file and not os.path.isfile(file):
        raise RrarankError(f"SSL_CERT_FILE={file}: no such file; name a file of certificates (PEM), or unset it")
    if folder and not os.path.isdir(folder):
        raise RrarankError(f"SSL_CERT_DIR={folder}: no such folder; name a folder of certificates, or unset it")
    try:
        return ssl.create_default_context(cafile=file, capath=folder)
    except (ssl.SSLError, OSError) as error:
        raise RrarankError(f"SSL_CERT_FILE={file}: cannot be read as certificates (PEM): {error}") from error


async def post(client: AsyncClient, url: str, body: bytes) -> Reply:
    """Send a request and read the reply, up to a limit.

    Raises:
        BadReply: the reply is too large, or cannot be unpacked.
    """
    async with client.stream("POST", url, content=body) as response:
        unpack = _Unpacker(response.headers.get("content-encoding", "").strip().lower())
        chunks, room = [], MOST_BYTES
        async for chunk in response.aiter_raw():
            chunks.append(unpack(chunk, room + 1))
            room -= len(chunks[-1])
            if room < 0:
                raise BadReply(f"the reply is larger than {MOST_BYTES:,} bytes")
        return Reply(response.status_code, response.headers, b"".join(chunks).decode("utf-8", "replace"))


class _Unpacker:
    """Unpack chunk by chunk, never more than asked for; servers may pack though we ask them not to."""

    def __init__(self, encoding: str) -> None:
        if encoding not in {"", "identity", "gzip", "x-gzip", "deflate"}:
            raise BadReply(f"the reply is packed ({encoding:.20}), which was not asked for")
        self._inflate = None if encoding in {"", "identity"} else zlib.decompressobj(zlib.MAX_WBITS | 32)

    def __call__(self, chunk: bytes, most: int) -> bytes:
        if self._inflate is None:
            return chunk
        try:
            return self._inflate.decompress(self._inflate.unconsumed_tail + chunk, most)
        except zlib.error as error:
            raise BadReply(f"the reply cannot be unpacked ({error})") from error
