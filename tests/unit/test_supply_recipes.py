"""A recipe's digest changes with every file that can change the image, and with nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bulkhead.errors import UsageError
from bulkhead.supply import recipes

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    folder.mkdir()
    (folder / "recipe.toml").write_text('description = ""\npackages = []\n')
    (folder / "setup.sh").write_text("true\n")
    return folder


def test_shipped_recipes_hold_all_that_they_need() -> None:
    assert recipes.names() == ("bulkhead/base", "bulkhead/gate", "bulkhead/node", "bulkhead/python")
    folders = {name: [path.name for path in recipes.recipe(name).folders] for name in recipes.names()}
    assert folders == {
        "bulkhead/base": ["base"],
        "bulkhead/gate": ["gate"],
        "bulkhead/python": ["base", "python"],
        "bulkhead/node": ["base", "python", "node"],
    }


def test_an_unknown_image_names_the_known_ones() -> None:
    with pytest.raises(UsageError) as caught:
        recipes.recipe("bulkhead/ruby")
    assert "bulkhead/python" in caught.value.why


@pytest.mark.parametrize("change", ["content", "name", "new", "builder"])
def test_a_change_changes_the_digest(home: Path, change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = recipes.digest_of((home,))
    match change:
        case "content":
            (home / "setup.sh").write_text("false\n")
        case "name":
            (home / "setup.sh").rename(home / "clean.sh")
        case "new":
            (home / "new.sh").touch()
        case _:
            monkeypatch.setattr(recipes, "BUILDER", recipes.BUILDER + 1)
    assert recipes.digest_of((home,)) != before


def test_the_readme_and_the_modes_of_a_checkout_do_not_count(home: Path) -> None:
    before = recipes.digest_of((home,))
    (home / "README.md").write_text("what it is for")
    (home / "setup.sh").chmod(0o700)
    assert recipes.digest_of((home,)) == before


def test_a_parents_change_changes_the_digest(home: Path, tmp_path: Path) -> None:
    child = tmp_path / "child"
    child.mkdir()
    before = recipes.digest_of((home, child))
    (home / "setup.sh").write_text("false\n")
    assert recipes.digest_of((home, child)) != before
