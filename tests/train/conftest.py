"""The tiny game of tiny_run.py, which tests use and processes die of."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(autouse=True)
def only_curves_that_a_test_looks_at(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Drawing takes longer than training the tiny game; test_monitor.py draws."""
    if "with_curves" not in request.fixturenames:
        loop = importlib.import_module("scansmith.train.loop")  # scansmith.train is a function
        monkeypatch.setattr(loop, "draw_curves", lambda run: None)


@pytest.fixture(scope="session")
def tiny() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tiny_run", Path(__file__).parent / "tiny_run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def with_curves() -> None:
    """Ask for real loss curves."""
