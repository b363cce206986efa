"""The runner's side of the gate: judges each caught connection, dials for it, and carries its bytes.

Rules: nothing leaves before the connection was judged, not even the question for its name's address; a check that fails
in any way is a refusal; the program sees a refusal as a reset at once; every connection is reported once, at its end,
and every refused query for a name. Where there are too many connections, those refused for it are only counted.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from bulkhead.egress import allowlist, dial
from bulkhead.egress.bounds import DEFAULT, Bucket, Meter
from bulkhead.egress.clienthello import Hellos
from bulkhead.egress.connection import Connection
from bulkhead.egress.http1 import Requests
from bulkhead.egress.names import Names
from bulkhead.egress.pump import PIECE, Pump
from bulkhead.egress.resolver import Resolver, system
from bulkhead.egress.visit import Visit
from bulkhead.egress.watch import WatchedBytes, WatchedRequests
from bulkhead.errors import BulkheadError, DeniedError, LimitError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence
    from socket import socket

    from bulkhead.egress.authority import Authority
    from bulkhead.egress.bounds import Bounds
    from bulkhead.egress.caught import Caught
    from bulkhead.egress.injectable import Injectable
    from bulkhead.egress.injection import Injection
    from bulkhead.egress.pump import Check
    from bulkhead.egress.resolver import Lookup
    from bulkhead.spec import EgressRule

_HELLO = 2**14
# Refusals of connections beyond the bound that are reported: so many at once, and then one a second. Whoever records
# them keeps those of other sandboxes too, and a program makes thousands a second.
TOLD = 50


class EgressProxy:
    """The decisions of one sandbox. ports: those on which the gate is to listen.

    report is called with each connection and each refused name; it neither waits nor raises. lookup resolves outside,
    in a thread. Raises UnenforceableError where a rule could not be kept.

    injectables: the secrets that are put into requests, with the authority that vouches to the sandbox for their hosts,
    and the context of a client that knows whom to trust about them (by default as this machine does).
    """

    def __init__(
        self,
        rules: tuple[EgressRule, ...],
        *,
        report: Callable[[Connection], None],
        bounds: Bounds = DEFAULT,
        lookup: Lookup = system,
        injectables: Sequence[Injectable] = (),
        authority: Authority | None = None,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        dial.require_own_known()
        self._rules = rules
        self._allowlist = allowlist.Allowlist(rules)
        self.ports = self._allowlist.ports
        self._report = report
        self._bounds = bounds
        self._names = Names(self._allowlist, bounds, self._report_name)
        self._resolver = Resolver(lookup)
        self._new = Bucket(bounds.rate, bounds.connections)
        self._refusals = Bucket(1, TOLD)
        self._untold = 0
        self._meters = Meter(bounds.sent), Meter(bounds.received)
        self._buffer = memoryview(bytearray(PIECE))
        self._visits: set[Visit] = set()
        self._closed = False
        self._injectables = injectables
        self._injection: Injection | None = None
        if injectables:
            from bulkhead.egress.injection import injection_for  # noqa: PLC0415 - most servers have no secret

            self._injection = injection_for(
                injectables, rules, authority=authority, trust=trust, meters=self._meters, bounds=bounds
            )

    def answer(self, query: bytes, *, tcp: bool = False) -> bytes | None:  # noqa: ARG002 - no answer is too long for UDP
        """The answer to one DNS message; None: none is sent."""
        return self._names.answer(query)

    def live(self) -> list[Connection]:
        """The connections that have not ended."""
        return [visit.told(0) for visit in self._visits]

    def close(self) -> None:
        """Ends all connections, and refuses what still comes: each handle() returns soon."""
        self._closed = True
        self._resolver.close()
        for visit in self._visits:
            if not visit.scope.expired():
                visit.scope.reschedule(0)

    async def handle(self, caught: Caught, report: Callable[[Connection], None] | None = None) -> None:
        """Serves one connection until it has ended, and ends it. Raises nothing but its own cancellation.

        report: for this connection, in the place of the proxy's.
        """
        scope = asyncio.timeout(None)
        visit = Visit(caught, scope)
        visit.name = self._names.name_of(visit.address)
        self._visits.add(visit)
        try:
            async with scope:
                await self._serve(visit)
        except BulkheadError as error:
            visit.note(error)
        except TimeoutError:
            visit.reason = "closed"
        except asyncio.CancelledError:
            visit.reason = "closed"
            raise
        except Exception as error:  # nothing that a program sends may end its runner
            visit.decision, visit.reason, visit.detail = "deny", "internal", repr(error)
        finally:
            self._visits.discard(visit)
            visit.end()
            self._tell(visit, report or self._report)

    async def _serve(self, visit: Visit) -> None:
        self._admit()
        if seconds := self._new.book():
            await asyncio.sleep(seconds)
        self._find_rule(visit)
        check = self._check(visit)
        first = await self._heard(visit.caught, check) if isinstance(check, Hellos | Requests) else b""
        visit.decision = "allow"
        visit.outside, visit.dialled = await self._dialled(visit)
        visit.opened_ns = time.time_ns()
        if self._injection is not None and isinstance(check, Hellos) and self._injection.is_for(visit.name):
            await self._injection.carry(visit, check, first)
            return
        visit.pump = Pump(visit.caught, visit.outside, self._meters, self._buffer, self._bounds.idle)
        visit.ways = visit.pump.up, visit.pump.down
        visit.pump.start(check, first)
        visit.clean = not await visit.pump.over

    def _admit(self) -> None:
        if self._closed:
            raise LimitError("the session has ended", reason="closed")
        if len(self._visits) > self._bounds.connections:
            raise LimitError(f"{self._bounds.connections} connections are open", reason="connections")
        for meter in self._meters:
            meter.require()

    def _find_rule(self, visit: Visit) -> None:
        if visit.name:
            visit.rule = self._allowlist.rule_for(visit.name, visit.caught.port)
        else:
            visit.rule = self._allowlist.rule_for_address(visit.address, visit.caught.port)
        if visit.rule is None:
            # Told with the refusal, because a profile has one rule a host: the port goes there.
            visit.rule = next((rule for rule in self._rules if visit.name == rule.host), None)
            raise DeniedError("no rule allows it", reason="port" if visit.name else "address")

    async def _heard(self, caught: Caught, check: Check) -> bytes:
        """The program's first bytes that may go out, once it has said whom it speaks to."""
        loop, first = asyncio.get_running_loop(), b""
        try:
            async with asyncio.timeout(self._bounds.hello):
                while not first:
                    data = await loop.sock_recv(caught.sock, _HELLO)
                    if not data:
                        raise DeniedError("it ended before it had said whom it speaks to", reason="silent")
                    first = check.feed(data)
        except OSError as error:
            raise DeniedError(f"it did not say whom it speaks to: {error!r}", reason="silent") from error
        return first

    async def _dialled(self, visit: Visit) -> tuple[socket, str]:
        rule, seconds = visit.rule, self._bounds.connect
        found = dial.vetted(await self._resolved(visit), private=rule is not None and rule.private)
        try:
            return await dial.dial(found, visit.caught.port, seconds)
        except TimeoutError as error:
            raise BulkheadError(f"no answer within {seconds:g} s", reason="connect") from error
        except OSError as error:
            raise BulkheadError(str(error), reason="unreachable") from error

    async def _resolved(self, visit: Visit) -> list[str]:
        if not visit.name:
            return [visit.address]
        try:
            async with asyncio.timeout(self._bounds.connect):
                return await self._resolver.addresses(visit.name)
        except (OSError, ValueError) as error:
            raise BulkheadError(f"{visit.name} was not resolved: {error!r}", reason="unresolved") from error

    def _tell(self, visit: Visit, report: Callable[[Connection], None]) -> None:
        if visit.reason == "connections" and not self._refusals.take():
            self._untold += 1
            return
        report(visit.told(time.time_ns(), self._untold))
        self._untold = 0

    def _report_name(self, name: str, reason: str, again: bool) -> None:
        now = time.time_ns()
        self._report(Connection(name=name, address="", port=0, begun_ns=now, ended_ns=now, reason=reason, again=again))

    def _check(self, visit: Visit) -> Check | None:
        """What the program's bytes must pass; None where anything may stand in them."""
        name, port, secrets = visit.name, visit.caught.port, self._injectables
        match allowlist.protocol(visit.rule, port) if visit.rule else "raw":
            case "tls":
                return Hellos(name)
            case "http":
                return WatchedRequests(name, port, secrets) if secrets else Requests(name, port)
            case "raw":
                return WatchedBytes(name, secrets) if secrets else None
