"""An image is files. What its configuration asks for is without effect in the container, or the start is refused."""

from __future__ import annotations

import io
import secrets
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from bulkhead.engines.runners import RUNNER
from bulkhead.errors import UnenforceableError
from tests.security import inside
from tests.security.guest import PYTHON

if TYPE_CHECKING:
    from collections.abc import Iterator

    import docker

    from bulkhead.engines.hardening import Plan
    from tests.security.guest import Guest, Inn

pytestmark = pytest.mark.engine

# What Docker lets the container replace, and Bulkhead replaces.
REPLACED = """
USER 0
WORKDIR /etc
ENTRYPOINT ["/bin/false"]
CMD ["/bin/false"]
STOPSIGNAL SIGUSR1
HEALTHCHECK --interval=1s CMD touch /tmp/health
LABEL bulkhead.runner="somebody else"
"""
# What Docker adds to the container, so that only a refusal keeps it out.
ADDED = {
    "ENV LD_PRELOAD=/evil.so": "Env LD_PRELOAD",
    "VOLUME /data": "Volumes",
    "EXPOSE 80": "ExposedPorts",
    "ONBUILD RUN true": "OnBuild",
    'LABEL com.example="x"': "Labels com.example",
}


@contextmanager
def _image(daemon: docker.DockerClient, settings: str) -> Iterator[str]:
    """The digest of the Python image with settings of a stranger's."""
    tag = f"bulkhead-security-{secrets.token_hex(4)}"
    list(daemon.api.build(fileobj=io.BytesIO(f"FROM {PYTHON}\n{settings}".encode()), tag=tag, rm=True))
    try:
        yield str(daemon.images.get(tag).id)
    finally:
        daemon.images.remove(tag)


def _with_image(guest: Guest, digest: str) -> Plan:
    return replace(guest.plan, image=digest, id=f"security-{secrets.token_hex(4)}")


def test_settings_that_are_replaced(inn: Inn, guest: Guest, daemon: docker.DockerClient) -> None:
    with _image(daemon, REPLACED) as digest, inn.guest_of(_with_image(guest, digest)) as other:
        assert other.ask(inside.status_of, "self")["Uid"].split() == [str(guest.plan.uid)] * 4
        assert other.ask(inside.descriptors)["cwd"] == "/work"
        assert other.ask(inside.environment_of, "self") == guest.ask(inside.environment_of, "self")
        config: dict[str, Any] = other.container["Config"]
        assert (config["Healthcheck"]["Test"], config["StopSignal"]) == (["NONE"], "SIGTERM")
        assert "Health" not in other.container["State"]
        assert config["Labels"][RUNNER] == guest.container["Config"]["Labels"][RUNNER]


@pytest.mark.parametrize(("setting", "named"), ADDED.items())
def test_settings_that_are_refused(
    inn: Inn, guest: Guest, daemon: docker.DockerClient, setting: str, named: str
) -> None:
    with _image(daemon, setting) as digest, pytest.raises(UnenforceableError) as caught:
        inn.portal.call(inn.engine.start, _with_image(guest, digest))
    assert caught.value.why == f"its configuration has {named}"
