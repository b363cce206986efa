"""Which hosts a step of a build may reach: the registries of its client, and nothing else.

No registry stands here: a recipe's urls.sh asks the client itself, which knows its own default and what the host has
passed on. First without any network: where would it ask? Then with these within reach: where are a package's files?
An index may keep them elsewhere, and only it can tell.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bulkhead import grammar
from bulkhead.errors import StartError
from bulkhead.spec import EgressRule
from bulkhead.supply import job
from bulkhead.supply.job import Outside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from bulkhead.engines.base import Engine
    from bulkhead.supply.job import Job

_PORTS = {"http": 80, "https": 443, "socks4": 1080, "socks4a": 1080, "socks5": 1080, "socks5h": 1080}
# What every container resolves by its own /etc/hosts: the gate sees the addresses alone.
_OWN_NAMES = {"localhost": ("127.0.0.1", "::1")}


async def outside(
    step: Job, name: str, gate: str, engine: Engine, *, state: Path, say: Callable[[str], None]
) -> Outside | None:
    """What a step may reach; name is the package whose files it needs, "" for none. gate is the gate image's digest.

    step is one in the client's image, with all that the host passes on to the client; its script is the urls.sh.
    Raises as job.done() does.
    """
    urls = await _asked(step, engine, state=state, say=say)
    if name:
        within = Outside(gate, rules(urls, step.passed.proxies))
        urls += await _asked(replace(step, arguments=(name,), outside=within), engine, state=state, say=say)
    return Outside(gate, rules(urls, step.passed.proxies)) if urls else None


def rules(urls: Iterable[str], proxies: Iterable[str]) -> tuple[EgressRule, ...]:
    """One rule a host. Mirrors and proxies are often private; whom a proxy is asked for cannot be checked.

    Raises StartError (reason "build") for a URL without a host.
    """
    ports: dict[str, set[int]] = defaultdict(set)
    checks: dict[str, set[bool | None]] = defaultdict(set)
    for url, check in [*((url, _tls(url)) for url in urls), *((_with_scheme(url), False) for url in proxies)]:
        for host, port in _targets(url):
            ports[host].add(port)
            checks[host].add(check)
    return tuple(EgressRule(host, tuple(sorted(ports[host])), True, _one_of(checks[host])) for host in sorted(ports))


async def _asked(step: Job, engine: Engine, *, state: Path, say: Callable[[str], None]) -> list[str]:
    output = await job.output_of(step, engine, state=state, say=say)
    urls = output.decode(errors="replace").split()
    return [url for url in urls if url.startswith(("https://", "http://"))]


def _tls(url: str) -> bool | None:
    return True if url.startswith("https://") else None


def _one_of(checks: set[bool | None]) -> bool | None:
    """What holds for all ports of a host."""
    if False in checks:
        return False
    return True if checks == {True} else None


def _with_scheme(proxy: str) -> str:
    return proxy if "://" in proxy else f"http://{proxy}"


def _targets(url: str) -> list[tuple[str, int]]:
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").removesuffix(".")
        if "*" in host:  # a profile may say so, and an index may not
            raise ValueError(f"{host} is no host")
        port = parts.port or _PORTS[parts.scheme]
        return [(grammar.host(name), port) for name in _OWN_NAMES.get(host, (host,))]
    except (ValueError, KeyError) as error:
        what, hint = "a registry or a proxy has no host that a rule could name", "see the configuration of the client"
        raise StartError(what, why=str(error), hint=hint, reason="build") from error
