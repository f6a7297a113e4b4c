"""Which environment variables are keys of LLM providers, and to which hosts each belongs."""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

from rrarank.errors import RrarankError
from rrarank.llm.http import is_loopback

OWN = "RRARANK_(?!API_KEYS$)[A-Z0-9_]+"
"""A user's own choice for rrarank; it may go anywhere. RRARANK_API_KEYS are those of `rrarank.serve`'s clients."""
_HOSTS = {  # a leading dot: any host below
    "ANTHROPIC": ("api.anthropic.com",),
    "AZURE_OPENAI": (".openai.azure.com", ".cognitiveservices.azure.com"),
    "CLOVASTUDIO": ("clovastudio.stream.ntruss.com", "clovastudio.apigw.ntruss.com"),
    "CLOVA_STUDIO": ("clovastudio.stream.ntruss.com", "clovastudio.apigw.ntruss.com"),
    "COHERE": ("api.cohere.com", "api.cohere.ai"),
    "DASHSCOPE": ("dashscope.aliyuncs.com", "dashscope-intl.aliyuncs.com"),
    "DEEPSEEK": ("api.deepseek.com",),
    "FIREWORKS": ("api.fireworks.ai",),
    "FRIENDLI": ("api.friendli.ai",),
    "GEMINI": ("generativelanguage.googleapis.com",),
    "GOOGLE": ("generativelanguage.googleapis.com",),
    "GROQ": ("api.groq.com",),
    "MISTRAL": ("api.mistral.ai",),
    "MOONSHOT": ("api.moonshot.cn", "api.moonshot.ai"),
    "NCP": ("clovastudio.stream.ntruss.com", "clovastudio.apigw.ntruss.com"),
    "NVIDIA": ("integrate.api.nvidia.com",),
    "OPENAI": ("api.openai.com",),
    "OPENROUTER": ("openrouter.ai",),
    "PERPLEXITY": ("api.perplexity.ai",),
    "TOGETHER": ("api.together.xyz", "api.together.ai"),
    "UPSTAGE": ("api.upstage.ai",),
    "VLLM": (),
    "XAI": ("api.x.ai",),
}
HOSTS = {f"{provider}_API_KEY": hosts for provider, hosts in _HOSTS.items()} | {"HF_TOKEN": ("router.huggingface.co",)}
"""Variable -> the hosts that its key is for."""


def check_key_name(variable: str) -> None:
    """Refuse a variable that is no key of an LLM provider: it may hold any secret of this machine."""
    if variable not in HOSTS and not re.fullmatch(OWN, variable):
        raise RrarankError(
            f'api_key_env {variable!r} is no usual name of a key; type: export RRARANK_API_KEY="${variable}" and '
            "give api_key_env=RRARANK_API_KEY"
        )


def check_key_host(variable: str, base_url: str) -> None:
    """Refuse to send a provider's key to another host. For a URL that someone else wrote: no user typed it.

    This machine, and https to the provider's own hosts, are allowed; so is a variable that is not set.
    """
    check_key_name(variable)
    if re.fullmatch(OWN, variable) or not os.environ.get(variable, "").strip():
        return
    try:
        parts = urlsplit(base_url.strip())
        scheme, host = parts.scheme, (parts.hostname or "").rstrip(".")
    except ValueError:
        scheme, host = "", ""
    own = any(host.endswith(one) if one.startswith(".") else host == one for one in HOSTS[variable])
    if is_loopback(host) or (own and scheme == "https"):
        return
    meant = " or ".join(f"https://{one.lstrip('.')}" for one in HOSTS[variable]) or "this machine"
    raise RrarankError(
        f"{variable} would be sent to {scheme}://{host}, and is for {meant}; if you trust that host, type: "
        f'export RRARANK_API_KEY="${variable}" and write api_key_env: RRARANK_API_KEY'
    )
