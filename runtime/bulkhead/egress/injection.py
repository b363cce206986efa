"""The connections to the hosts of secrets: TLS ends here, and begins anew with the host, which has to prove its name.

Rules: the program's side has a certificate of the sandbox's own authority, the host's side is a strict client; nothing
of a request leaves before the host has proved its name. A refusal is told in an answer, where the program can read it.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING

from bulkhead.egress import allowlist
from bulkhead.egress.exchange import Exchange
from bulkhead.egress.outgoing import Outgoing
from bulkhead.egress.tls import Tls
from bulkhead.egress.watch import covers
from bulkhead.errors import BulkheadError, DeniedError, LimitError, UnenforceableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bulkhead.egress.authority import Authority
    from bulkhead.egress.bounds import Bounds, Meter
    from bulkhead.egress.clienthello import Hellos
    from bulkhead.egress.injectable import Injectable
    from bulkhead.egress.visit import Visit
    from bulkhead.spec import EgressRule


def system_trust() -> ssl.SSLContext:
    """A client's that trusts whom this machine trusts: TLS 1.2 or later, HTTP/1.1."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    return context


def injection_for(
    injectables: Sequence[Injectable],
    rules: Sequence[EgressRule],
    *,
    authority: Authority | None,
    trust: ssl.SSLContext | None,
    meters: tuple[Meter, Meter],
    bounds: Bounds,
) -> Injection:
    """Raises UnenforceableError for a secret that could reach none of its hosts, or that has no placeholder."""
    if authority is None:
        raise UnenforceableError("secrets cannot be injected", why="there is no authority to end TLS with")
    for injectable in injectables:
        if not injectable.placeholder:
            raise UnenforceableError(f"{injectable.name} cannot be injected", why="it has no placeholder")
        for host in injectable.hosts:
            if not any(_leads_to(rule, host) for rule in rules):
                raise UnenforceableError(
                    f"{injectable.name} cannot be injected for {host}",
                    why="no rule of [[egress]] allows the host on a port where TLS is spoken",
                    hint=f'add [[egress]] with host = "{host}" and ports = [443]',
                )
    return Injection(injectables, authority, trust or system_trust(), meters, bounds)


def _leads_to(rule: EgressRule, host: str) -> bool:
    """Whether the rule allows TLS to the host, or to some of those that it stands for."""
    met = rule.host == host or covers([rule.host], host) or covers([host], rule.host)
    return met and any(allowlist.protocol(rule, port) == "tls" for port in rule.ports)


class Injection:
    """For the connections of one sandbox. trust: who is believed about the hosts' names. meters: sent, received."""

    def __init__(
        self,
        injectables: Sequence[Injectable],
        authority: Authority,
        trust: ssl.SSLContext,
        meters: tuple[Meter, Meter],
        bounds: Bounds,
    ) -> None:
        self._injectables = tuple(injectables)
        self._authority = authority
        self._trust = trust
        self._meters = meters
        self._bounds = bounds

    def is_for(self, name: str) -> bool:
        """Whether a secret goes to the host."""
        return any(covers(injectable.hosts, name) for injectable in self._injectables)

    async def carry(self, visit: Visit, hellos: Hellos, first: bytes) -> None:
        """Serves a connection that has been dialled; hellos has let first through. Raises BulkheadError.

        visit.clean says whether its end is to be told as one.
        """
        assert visit.outside is not None  # noqa: S101 - it was dialled
        sent, received = self._meters
        program = Tls(visit.caught.sock, self._authority.context_for(visit.name), received)
        program.take(visit.caught, hellos, first)
        host = Tls(visit.outside, self._trust, sent, visit.name)
        visit.ways = host, program
        proof = asyncio.create_task(self._prove(host, visit.name))
        outgoing = Outgoing(visit.name, visit.caught.port, self._injectables)
        exchange = Exchange(program, host, outgoing, self._bounds.idle)
        try:
            with suppress(OSError):  # a side broke off, and so does the other
                await self._greet(program)
                await self._exchange(visit, exchange, proof)
        finally:
            proof.cancel()
            await asyncio.gather(proof, return_exceptions=True)

    async def _exchange(self, visit: Visit, exchange: Exchange, proof: asyncio.Task[None]) -> None:
        try:
            await proof
            await exchange.run()
        except LimitError:
            raise
        except BulkheadError as error:
            visit.clean = await exchange.refuse(error, self._bounds.hello)
            raise
        await exchange.part()
        visit.clean = True

    async def _greet(self, program: Tls) -> None:
        try:
            async with asyncio.timeout(self._bounds.hello):
                await program.handshake()
        except ssl.SSLError as error:
            raise BulkheadError(f"the program ended its handshake: {error.reason}", reason="untrusted") from error
        except TimeoutError as error:
            raise DeniedError("it did not finish its handshake", reason="silent") from error

    async def _prove(self, host: Tls, name: str) -> None:
        seconds = self._bounds.connect
        try:
            async with asyncio.timeout(seconds):
                await host.handshake()
        except ssl.SSLError as error:
            why = getattr(error, "verify_message", "") or error.reason
            raise DeniedError(f"the other side did not prove that it is {name}: {why}", reason="certificate") from error
        except TimeoutError as error:
            raise BulkheadError(f"no TLS within {seconds:g} s", reason="connect") from error
        except OSError as error:
            raise BulkheadError(f"TLS broke off: {error}", reason="unreachable") from error
