"""Image and profile: pinned at the first start, and after that what a server is started from."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest

from bulkhead.errors import IntegrityError
from bulkhead.pins import pinned_image
from bulkhead.pins.decide import approve, former, roll_back
from bulkhead.spec import EgressRule, Mount, SecretBinding, Server, ServerSpec, Tools
from tests.pins.conftest import KEY
from tests.pins.rich import mutants

if TYPE_CHECKING:
    from pathlib import Path

    from bulkhead.pins import Store

SPEC = ServerSpec(
    name="weather",
    server=Server(package="npm:weather@1.0.0", env={"A": "b"}),
    mounts=(Mount("/home/ada", "/notes"),),
    egress=(EgressRule("api.example.com", (443,)),),
    secrets=(SecretBinding("TOKEN", "keyring:weather", hosts=("api.example.com",)),),
    tools=Tools(deny=("delete_*",)),
)
OTHER_SERVER = ServerSpec("weather", Server(package="npm:weather@2.0.0"))


def start(
    session: Any,
    spec: Any = SPEC,
    image: str = "sha256:1",
    *,
    path: str = "",
    mode: str = "first-use",
    strange: bool = False,
    built: bool = False,
) -> Any:
    profile = spec if isinstance(spec, dict) else asdict(spec)
    book = session(mode).book
    return book.started(image=image, built=built, profile=profile, profile_path=path, strange=strange)


@pytest.mark.parametrize("mode", ["first-use", "approve"])
def test_the_first_start_pins_both(session: Any, store: Store, mode: str, tmp_path: Path) -> None:
    path = tmp_path / "weather.toml"
    path.write_text("# mine\n")
    assert start(session, mode=mode, path=str(path)) == ("image and profile are pinned",)
    pins = store.pins()
    assert (pins.version, pins.image, pins.path, pins.text) == (1, "sha256:1", str(path), "# mine\n")
    assert start(session, mode=mode, path=str(path)) == ()
    assert store.pins() is pins


def test_another_image_is_not_started(session: Any, store: Store) -> None:
    start(session)
    with pytest.raises(IntegrityError) as caught:
        start(session, image="sha256:2")
    assert (caught.value.reason, caught.value.why) == ("pin", "the image has another digest than the pinned one")
    assert caught.value.hint == "`bulkhead approve weather` shows the difference, and asks"
    assert store.waiting()["image:"].definition == "sha256:2"
    approve(store, store.pins(), store.waiting(), by="ada")
    assert start(session, image="sha256:2") == ()


def test_an_image_that_is_as_it_was_does_not_wait_any_more(session: Any, store: Store) -> None:
    start(session)
    with pytest.raises(IntegrityError):
        start(session, image="sha256:2")
    start(session)
    assert store.waiting() == {}


def test_a_persons_edit_of_their_own_profile_is_their_word(session: Any, store: Store) -> None:
    start(session)
    profile = asdict(SPEC)
    profile["limits"]["memory"] = 2**30
    assert start(session, profile) == ("the profile is yours and changed at /limits/memory",)
    assert (store.pins().version, store.version(1).profile["limits"]["memory"]) == (2, SPEC.limits.memory)


def test_another_package_of_their_own_brings_another_image(session: Any, store: Store) -> None:
    start(session)
    notes = start(session, OTHER_SERVER, image="sha256:2")
    assert notes[1] == "the image is sha256:2 now"
    assert (store.pins().version, store.pins().image) == (2, "sha256:2")


def test_an_image_that_was_built_here_is_pinned_anew(session: Any, store: Store) -> None:
    start(session)
    assert start(session, image="sha256:2", built=True) == ("the image is sha256:2 now",)
    assert (store.pins().version, store.pins().image, store.version(1).image) == (2, "sha256:2", "sha256:1")
    with pytest.raises(IntegrityError, match="profile of weather changed"):
        start(session, OTHER_SERVER, image="sha256:3", built=True, strange=True)
    assert store.pins().image == "sha256:2"


def test_an_edit_elsewhere_brings_no_other_image(session: Any, store: Store) -> None:
    start(session)
    profile = asdict(SPEC) | {"description": "Other"}
    with pytest.raises(IntegrityError, match="image of weather changed"):
        start(session, profile, image="sha256:2")
    assert store.pins().image == "sha256:1"


STRANGE: list[dict[str, Any]] = [{"strange": True}, {"mode": "approve"}]


@pytest.mark.parametrize("how", STRANGE, ids=["a project's", "all wait"])
def test_every_leaf_of_a_strangers_profile_is_held(session: Any, store: Store, how: dict[str, Any]) -> None:
    profile = json.loads(json.dumps(asdict(SPEC)))
    start(session, profile, **how)
    count = 0
    for mutant in mutants(profile):
        if (mutant.what == "removed" and mutant.at in _defaults(profile)) or mutant.at in TABLES:
            continue
        count += 1
        with pytest.raises(IntegrityError) as caught:
            start(session, mutant.value, **how)
        assert caught.value.why.startswith("the profile changed at /")
    assert count > 100
    assert store.pins().version == 1


TABLES: dict[str, Any] = {"/mounts": Mount("", ""), "/egress": EgressRule("", ()), "/secrets": SecretBinding("", "")}


def _defaults(profile: dict[str, Any]) -> set[str]:
    """Members that, where they are missing, have the value that they have."""
    whole = json.loads(json.dumps(asdict(ServerSpec("", Server()))))
    found = {f"/{key}" for key, value in whole.items() if profile[key] == value}
    for key, value in whole.items():
        if isinstance(value, dict):
            found |= {f"/{key}/{name}" for name, inner in value.items() if profile[key][name] == inner}
    for at, entry in TABLES.items():
        table = json.loads(json.dumps(asdict(entry)))
        found |= {f"{at}/0/{name}" for name, inner in table.items() if profile[at[1:]][0][name] == inner}
    return found


def test_a_change_of_both_names_both_and_is_approved_at_once(session: Any, store: Store) -> None:
    start(session, strange=True)
    with pytest.raises(IntegrityError, match="image and profile of weather changed since they were pinned"):
        start(session, OTHER_SERVER, image="sha256:2", strange=True)
    approve(store, store.pins(), store.waiting(), by="ada")
    assert start(session, OTHER_SERVER, image="sha256:2", strange=True) == ()


def test_new_defaults_are_no_change(session: Any) -> None:
    old = asdict(SPEC)
    for table, key in (("limits", "approval"), ("guards", "baseline"), ("sandbox", "exec_tmp")):
        del old[table][key]
    del old["screen"], old["secrets"][0]["places"], old["egress"][0]["tls"]
    start(session, old, strange=True)
    assert start(session, strange=True) == ()


def test_a_refusal_names_keys_and_no_values(session: Any) -> None:
    start(session, strange=True)
    profile = asdict(SPEC)
    profile["secrets"][0]["source"] = 'exec:["get", "s3cret"]'
    with pytest.raises(IntegrityError) as caught:
        start(session, profile, strange=True)
    assert caught.value.why == "the profile changed at /secrets/0/source"
    assert "s3cret" not in repr(caught.value) + caught.value.hint


def test_the_image_that_a_start_must_use(session: Any, store: Store, tmp_path: Path) -> None:
    server = asdict(SPEC.server)
    assert pinned_image(tmp_path, KEY, server) == ""
    start(session)
    start(session, image="sha256:2", built=True)
    assert pinned_image(tmp_path, KEY, server) == "", "the newest build is the one"
    roll_back(store, store.pins(), former(store), by="ada")
    assert pinned_image(tmp_path, KEY, server) == "sha256:1"
    assert pinned_image(tmp_path, KEY, asdict(OTHER_SERVER.server)) == ""
