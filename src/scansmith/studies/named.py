"""NAME=FOLDER[,FOLDER...]: how studies are told what to compare."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scansmith.scan import SettingsError


def named_folders(words: Sequence[str]) -> dict[str, list[Path]]:
    """The folders of each name.

    Raises:
        SettingsError: a word is not of that form, or a name comes twice.
    """
    found: dict[str, list[Path]] = {}
    for word in words:
        name, _, folders = word.partition("=")
        if not name or not folders or name in found:
            raise SettingsError(
                f"{word}: expected NAME=FOLDER[,FOLDER...], each NAME once. For example ours=run."
            )
        found[name] = [Path(folder) for folder in folders.split(",")]
    return found
