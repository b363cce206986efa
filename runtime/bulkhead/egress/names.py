"""The names that one sandbox asked for, and their addresses: its whole DNS.

Rules: nothing is resolved here and nothing of a question leaves, or names would be a way out. An allowed name gets an
address of 198.18.0.0/15, which no host of the internet has, and keeps it for the sandbox's life, because programs cache
it. The address of a caught connection tells which name was meant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bulkhead.egress import dns
from bulkhead.egress.bounds import Bucket

if TYPE_CHECKING:
    from collections.abc import Callable

    from bulkhead.egress.allowlist import Allowlist
    from bulkhead.egress.bounds import Bounds

SERVFAIL = 2
# Asked for by programs that log whom they spoke to; no rule could allow it, so it is no news.
_REVERSE = ".arpa"


class Names:
    """refused(name, reason, again) is called for each query that is refused; again: the name was refused before.

    name is "" where there are too many queries to read them, which is told once.
    """

    def __init__(self, allowlist: Allowlist, bounds: Bounds, refused: Callable[[str, str, bool], None]) -> None:
        self._allowlist = allowlist
        self._bound = bounds.names
        self._queries = Bucket(bounds.queries, bounds.queries)
        self._tell = refused
        self._told: set[str] = set()
        self._addresses: dict[str, str] = {}
        self._names: dict[str, str] = {}

    def name_of(self, address: str) -> str:
        """The name that was given this address, or ""."""
        return self._names.get(address, "")

    def answer(self, query: bytes) -> bytes | None:
        """The answer to one DNS message; None: none is sent."""
        if not self._queries.take():
            self._refuse("", "rate")
            return None
        question = dns.parse(query)
        if not isinstance(question, dns.Question):
            return question
        if not self._allowlist.knows(question.name):
            self._refuse(question.name, "name")
            return dns.reply(question, rcode=dns.NXDOMAIN)
        if not question.wants_address:
            return dns.reply(question)
        address = self._address(question.name)
        if not address:
            self._refuse(question.name, "names")
            return dns.reply(question, rcode=SERVFAIL)
        return dns.reply(question, address=address)

    def _address(self, name: str) -> str:
        if name not in self._addresses and len(self._addresses) < self._bound:
            high, low = divmod(len(self._addresses) + 1, 2**8)
            address = f"198.{18 + high // 2**8}.{high % 2**8}.{low}"
            self._addresses[name], self._names[address] = address, name
        return self._addresses.get(name, "")

    def _refuse(self, name: str, reason: str) -> None:
        again = name in self._told
        if (again and not name) or (not again and len(self._told) >= self._bound) or name.endswith(_REVERSE):
            return
        self._told.add(name)
        self._tell(name, reason, again)
