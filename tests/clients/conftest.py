"""The image with the clients, the servers on this machine, and a sandbox between, for the whole suite."""

from __future__ import annotations

import secrets
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest
import trustme
from anyio.from_thread import start_blocking_portal

from bulkhead import resources
from bulkhead.engines.docker import DockerEngine
from bulkhead.engines.registry import find_endpoint
from bulkhead.spec import Server
from bulkhead.supply import recipes
from bulkhead.supply.images import image_for
from tests.clients.box import Boxes, Place
from tests.clients.packages import node_packages, python_packages
from tests.clients.servers import http2 as http2_server
from tests.clients.servers import postgres as postgres_server
from tests.clients.servers import sockets as sockets_server
from tests.clients.servers import ssh as ssh_server
from tests.clients.servers.git import repository
from tests.clients.servers.packages import write_index, write_registry
from tests.clients.servers.web import Web

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bulkhead.engines.base import Engine
    from tests.clients.box import Box
    from tests.clients.servers.sockets import Sockets
    from tests.clients.servers.ssh import Shell

HERE = Path(__file__).parent
GATE, CLIENTS = "bulkhead/gate", "bulkhead/clients"


@pytest.fixture(scope="session")
def say(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Tells on the terminal what takes long."""
    terminal = pytestconfig.pluginmanager.getplugin("terminalreporter")
    return terminal.write_line if terminal else lambda _: None


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory, state: Path, say: Callable[[str], None]) -> dict[str, str]:
    """The digests of the gate's image and of the clients', which has a recipe like the shipped ones, beside them."""
    folder = tmp_path_factory.mktemp("recipes") / "images"
    shutil.copytree(resources.folder("images"), folder)
    shutil.copytree(HERE / "image", folder / "clients")

    async def digests() -> dict[str, str]:
        engine = DockerEngine(find_endpoint(), state=state)
        try:
            found = [await image_for(Server(image=name), engine, state=state, say=say) for name in (GATE, CLIENTS)]
        finally:
            await engine.close()
        return dict(zip((GATE, CLIENTS), (image.digest for image in found), strict=True))

    with pytest.MonkeyPatch.context() as patch, _forgotten_recipes():
        patch.setattr(recipes, "folder", lambda _: folder)
        return anyio.run(digests)


@contextmanager
def _forgotten_recipes() -> Iterator[None]:
    """Recipes are read once a process; here, with other folders, and afterwards again."""
    recipes.recipe.cache_clear()
    recipes.names.cache_clear()
    yield
    recipes.recipe.cache_clear()
    recipes.names.cache_clear()


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Whom the clients believe."""
    return trustme.CA()


@pytest.fixture(scope="session")
def shared(
    authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory, say: Callable[[str], None]
) -> dict[str, Path]:
    """What a box sees of this machine."""
    certificates = tmp_path_factory.mktemp("ca")
    certificates.chmod(0o755)
    authority.cert_pem.write_to_path(str(certificates / "ca.pem"))
    return {"ca": certificates, "python": python_packages(say), "node": node_packages(say)}


@pytest.fixture(scope="session")
def boxes(images: dict[str, str], shared: dict[str, Path], state: Path) -> Iterator[Boxes]:
    async def opened() -> Engine:
        return DockerEngine(find_endpoint(), state=state)

    with start_blocking_portal() as portal:
        engine = portal.call(opened)
        try:
            yield Boxes(portal, engine, state, images[GATE], images[CLIENTS], shared)
        finally:
            portal.call(engine.close)


@pytest.fixture(scope="session")
def addresses() -> Iterator[str]:
    """Loopback addresses that nobody else has, so that the ports of the protocols themselves are free there."""
    network = f"127.{64 + secrets.randbelow(128)}.{secrets.randbelow(256)}"
    return (f"{network}.{host}" for host in range(1, 255))


@pytest.fixture(scope="session")
def web(authority: trustme.CA, addresses: Iterator[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """HTTP and HTTPS, each on its own port: what a profile without tls says of them is judged."""
    place = Place("web.bulkhead.test", next(addresses), (80, 443))
    with Web(place, authority, tmp_path_factory.mktemp("web")).serving() as web:
        write_index(web.root / "simple")
        write_registry(web.root / "npm", web.url("/npm"))
        yield web


@pytest.fixture(scope="session")
def commit(web: Web) -> str:
    """The one commit of the repository /git/project.git."""
    return repository(web.root / "git" / "project.git")


@pytest.fixture(scope="session")
def http2(authority: trustme.CA, addresses: Iterator[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    place = Place("http2.bulkhead.test", next(addresses), (443,))
    with http2_server.serving(place, authority, tmp_path_factory.mktemp("http2")):
        yield place


@pytest.fixture(scope="session")
def sockets(boxes: Boxes, authority: trustme.CA, addresses: Iterator[str]) -> Iterator[Sockets]:
    place = Place("sockets.bulkhead.test", next(addresses), (80, 443))
    with boxes.portal.wrap_async_context_manager(sockets_server.serving(place, authority)) as sockets:
        yield sockets


@pytest.fixture(scope="session")
def shell(boxes: Boxes, addresses: Iterator[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    place = Place("shell.bulkhead.test", next(addresses), (2222,))
    root = tmp_path_factory.mktemp("shell")
    with boxes.portal.wrap_async_context_manager(ssh_server.serving(place, root)) as shell:
        yield shell


@pytest.fixture(scope="session")
def database(authority: trustme.CA, addresses: Iterator[str]) -> Iterator[Place]:
    place = Place("database.bulkhead.test", next(addresses), (5432,))
    with postgres_server.serving(place, authority):
        yield place


@pytest.fixture(scope="session")
def places(web: Web, http2: Place, sockets: Sockets, shell: Shell, database: Place) -> tuple[Place, ...]:
    """All servers."""
    return web.place, http2, sockets.place, shell.place, database


@pytest.fixture(scope="session")
def box(boxes: Boxes, places: tuple[Place, ...], shell: Shell) -> Iterator[Box]:
    """One for most tests, which leave nothing open in it. OpenSSH's settings are in ~/.ssh."""
    with boxes.box(*places) as box:
        for name, text in shell.settings.items():
            box.run("sh", "-c", 'umask 077; mkdir -p ~/.ssh; cat >~/.ssh/"$1"', "-", name, stdin=text)
        yield box
