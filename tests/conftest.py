"""What the tests of all rooms share: where real scans are, when somebody has them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real data sets; tests that want it skip without it."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("SCANSMITH_TEST_DATA", beside))
    if not folder.is_dir():
        pytest.skip("no real scans at hand (set SCANSMITH_TEST_DATA)")
    return folder


@pytest.fixture
def links(tmp_path_factory: pytest.TempPathFactory) -> None:
    """For tests that make symbolic links: skips where the user may not (Windows, by default)."""
    folder = tmp_path_factory.mktemp("links")
    try:
        (folder / "link").symlink_to(folder)
    except OSError:
        pytest.skip("no right to make symbolic links")


@pytest.fixture
def heeded_signals() -> Iterator[None]:
    """For tests that send signals: a shell's background jobs are begun with SIGINT ignored."""
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
        signal.SIGTERM: signal.signal(signal.SIGTERM, signal.SIG_DFL),
    }
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
