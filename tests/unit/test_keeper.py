"""keeper.py: an expired secret that cannot be taken out of a sandbox ends it, and one that cannot be put in fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import anyio
import pytest

from bulkhead.errors import EngineError
from bulkhead.keeper import Keeper

if TYPE_CHECKING:
    from bulkhead.engines.base import Sandbox


class Stubborn:
    """A sandbox into which nothing can be written."""

    stopped = False

    async def write_secret(self, name: str, _value: bytes | None) -> None:
        raise EngineError(f"the secret {name} could not be written")

    async def stop(self, _grace: float) -> None:
        self.stopped = True


@pytest.mark.parametrize("value", [None, b"value"])
def test_what_cannot_be_written(value: bytes | None) -> None:
    sandbox, keeper = Stubborn(), Keeper.__new__(Keeper)
    keeper.sandbox = cast("Sandbox", sandbox)
    if value is None:
        anyio.run(keeper.write_secret, "TOKEN", value)
    else:
        with pytest.raises(EngineError):
            anyio.run(keeper.write_secret, "TOKEN", value)
    assert sandbox.stopped == (value is None)
