"""The page to try the reranker in a browser; its headers let it load or run nothing else."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib import resources

from fastapi.responses import HTMLResponse


def page_response() -> HTMLResponse:
    html = resources.files("rrarank.serve").joinpath("page.html").read_text(encoding="utf-8")
    return HTMLResponse(html, headers={"content-security-policy": _policy(html), "x-frame-options": "DENY"})


def _policy(html: str) -> str:
    """Allow the page's own script and style, by their hashes, and requests to this server."""
    hashes = [_hash(re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)) for tag in ("script", "style")]
    return (
        f"default-src 'none'; script-src {hashes[0]}; style-src {hashes[1]}; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _hash(contents: list[str]) -> str:
    digests = (hashlib.sha256(content.encode()).digest() for content in contents)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
