"""Every engine passes every check of bulkhead/engines/contract.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from bulkhead.engines.contract import CHECKS

if TYPE_CHECKING:
    from collections.abc import Callable

    from bulkhead.engines.contract import Check, Subject

EVERY = pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)


@EVERY
def test_fake(check: Check, fake_subject: Callable[[], Subject]) -> None:
    anyio.run(_passes, check, fake_subject)


@EVERY
@pytest.mark.engine
def test_docker(check: Check, docker_subject: Callable[[], Subject]) -> None:
    anyio.run(_passes, check, docker_subject)


@EVERY
@pytest.mark.engine
def test_docker_with_pipes(check: Check, piped_subject: Callable[[], Subject]) -> None:
    anyio.run(_passes, check, piped_subject)


async def _passes(check: Check, make_subject: Callable[[], Subject]) -> None:
    subject = make_subject()
    try:
        await check(subject)
    finally:
        await subject.engine.close()
    assert await _left(make_subject) == []


async def _left(make_subject: Callable[[], Subject]) -> list[str]:
    subject = make_subject()
    try:
        return [info.id for info in await subject.engine.list()]
    finally:
        await subject.engine.close()
