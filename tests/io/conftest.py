"""A DICOM series for the tests of this room."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def dicom() -> ModuleType:
    """The module that writes small series."""
    path = Path(__file__).parent / "dicom_series.py"
    spec = importlib.util.spec_from_file_location("dicom_series", path)
    assert spec is not None and spec.loader is not None  # noqa: PT018
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
