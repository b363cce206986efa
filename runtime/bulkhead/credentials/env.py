"""env:NAME - a variable of the runner's own environment, as it is when the secret is fetched."""

from __future__ import annotations

import os
from dataclasses import dataclass

from bulkhead.credentials.base import Fetched, checked, place, unavailable


@dataclass(frozen=True, slots=True)
class EnvProvider:
    """See base.Provider."""

    source: str

    def fetch(self) -> Fetched:
        value = os.environb.get(place(self.source).encode())
        if not value:
            why = "the variable is not set" if value is None else "the variable is empty"
            raise unavailable(
                self.source, why, "set it where bulkhead is started, which may be the host's configuration"
            )
        return Fetched(checked(value, self.source))
