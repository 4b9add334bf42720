from __future__ import annotations

import ctypes
import platform

import pytest

from scansmith.train.allocator import keep_freed_memory


def test_glibc_is_told_and_can_be_told_again() -> None:
    expected = platform.libc_ver()[0] == "glibc"
    assert keep_freed_memory() is expected
    assert keep_freed_memory() is expected


@pytest.mark.parametrize("error", [OSError, TypeError])
def test_other_systems_are_left_alone(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def absent(name: object) -> None:
        raise error("no such library")

    monkeypatch.setattr(ctypes, "CDLL", absent)
    assert keep_freed_memory() is False
