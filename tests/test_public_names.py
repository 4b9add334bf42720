import importlib
import inspect
import subprocess
import sys

import pytest

import scansmith


def ran(code):
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_public_names_are_these():
    assert scansmith.__all__ == sorted(
        scansmith.__all__, key=lambda name: (not name.isupper(), name)
    )
    assert set(scansmith.__all__) == set(scansmith._HOME)
    assert set(scansmith.__all__) == {
        *("Scan", "CaseFiles", "Problem", "LabelTable", "Store", "METHODS"),
        *("ScansmithError", "DataError", "SettingsError", "RunError"),
        *("read_scan", "write_scan", "find_layout", "check", "import_dicom"),
        *("make_phantom", "write_phantoms"),
        *("prepare", "train", "load_run", "synthesize", "heal", "translate", "evaluate"),
        "audit",
    }


@pytest.mark.parametrize("name", scansmith.__all__)
def test_every_public_name_is_there_and_documented(name):
    value = getattr(scansmith, name)
    assert name in dir(scansmith)
    if name != "METHODS":
        assert inspect.getdoc(value)
        assert not inspect.ismodule(value)
    if inspect.isfunction(value):
        hints = inspect.get_annotations(value)
        assert "return" in hints
        assert set(inspect.signature(value).parameters) <= set(hints)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'tarin'"):
        _ = scansmith.tarin


@pytest.mark.parametrize("verb", ["train", "synthesize", "evaluate"])
def test_a_room_never_hides_the_verb_of_its_name(verb):
    room = importlib.import_module(f"scansmith.{verb}")
    assert inspect.ismodule(room)
    assert inspect.isfunction(getattr(scansmith, verb))
    assert (
        ran(
            f"import scansmith.{verb}, scansmith, inspect\n"
            f"from scansmith import {verb}\n"
            f"print(inspect.isfunction({verb}), inspect.isfunction(scansmith.{verb}))"
        )
        == "True True"
    )


@pytest.mark.parametrize("code", ["import scansmith", "import scansmith.apps.cli"])
def test_nothing_heavy_is_imported_before_it_is_needed(code):
    heavy = ["torch", "monai", "scipy", "nibabel", "skimage", "sklearn", "matplotlib", "pydicom"]
    found = ran(f"{code}\nimport sys\nprint([m for m in {heavy} if m in sys.modules])")
    assert found == "[]"
