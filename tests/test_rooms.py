"""Who may import whom: HOUSE rules, held by reading the imports of every file."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "scansmith"

SINGLE = ("scan", "recipe", "settings", "augment", "game", "losses", "workflow")
FOLDERS = ("labels", "io", "data", "nets", "methods", "train", "synthesize", "evaluate", "studies")
ROOMS = {*SINGLE, *FOLDERS}

MAY = {
    "scan": set(),
    "losses": set(),
    "nets": set(),
    "settings": {"scan"},
    "augment": {"scan", "settings"},
    "recipe": {"scan"},
    "game": {"scan"},
    "labels": {"scan"},
    "io": {"scan"},
    "data": {"scan", "settings", "recipe", "io", "labels"},
    "train": {"scan", "settings", "augment", "game"},
    "methods": {"scan", "settings", "recipe", "game", "losses", "nets", "labels"},
    "workflow": ROOMS - {"evaluate", "synthesize", "studies"},
    "synthesize": {
        *("scan", "settings", "recipe", "io", "labels", "data", "methods", "train", "workflow")
    },
    "evaluate": {
        *("scan", "settings", "augment", "io", "labels", "data", "nets", "losses", "game", "train")
    },
    "studies": ROOMS,
    "apps": ROOMS,
}


def imported(text, file):
    """The modules of ours that a file imports, anywhere in it, as dotted names."""
    package = list(file.relative_to(SOURCE.parent).with_suffix("").parts[:-1])
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{stem}.{alias.name}" for alias in node.names)


def broken(text, file):
    """Imports that the table forbids, as `room -> room` words."""
    own = file.relative_to(SOURCE).with_suffix("").parts[0]
    for name in imported(text, file):
        head, *rest = name.split(".")
        if head != "scansmith" or not rest or own == "__init__":
            continue
        room = rest[0]
        if room.startswith("__") or room == own:  # __version__ is anybody's
            continue
        if room not in MAY.get(own, ROOMS | {"apps"}):
            yield f"{own} -> {room}"


FILES = sorted(SOURCE.rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_a_file_imports_only_from_rooms_that_its_room_may_use(file):
    assert list(broken(file.read_text(encoding="utf-8"), file)) == []


def test_every_file_lies_in_a_room_of_the_table():
    rooms = {file.relative_to(SOURCE).with_suffix("").parts[0] for file in FILES}
    assert rooms - {"__init__", "__main__"} <= set(MAY)


def test_a_forbidden_import_is_found_however_it_is_written():
    train, inner = SOURCE / "train" / "loop.py", "def f():\n    import scansmith.methods.magan"
    assert list(broken("from scansmith.methods import METHODS", train)) == ["train -> methods"]
    assert list(broken("from scansmith import methods", train)) == ["train -> methods"]
    assert list(broken("from ..methods import base", train)) == ["train -> methods"]
    assert list(broken(inner, train)) == ["train -> methods"]
    assert list(broken("from scansmith.game import Game\nfrom . import monitor", train)) == []


def test_the_table_has_no_circle():
    done = set()
    while len(done) < len(MAY):
        free = {room for room in MAY if room not in done and MAY[room] - {room} <= done}
        assert free, f"a circle among {sorted(set(MAY) - done)}"
        done |= free


def test_no_file_is_a_drawer_for_odds_and_ends():
    assert not [file for file in FILES if file.stem in {"utils", "helpers", "common", "misc"}]


def test_nothing_unpickles():
    """A checkpoint, a store or a bank from a stranger must not be able to run code."""
    for file in FILES:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        names = {name.split(".")[0] for name in imported(ast.unparse(tree), file)}
        assert not names & {"pickle", "dill", "joblib", "cloudpickle", "shelve"}, file
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                assert ast.unparse(node.value) == "False", file
            if isinstance(node, ast.Call):
                assert ast.unparse(node.func) != "torch.load", file
