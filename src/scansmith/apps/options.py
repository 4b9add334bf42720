"""What the verbs of the command line have in common: options, and how they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from scansmith.scan import SettingsError

Organ = Literal["brain", "liver", "heart"]
Layout = Literal["nnunet", "msd", "brats", "slices", "mmwhs"]
Split = Literal["train", "validation", "test", "all"]

MethodName = Annotated[
    str, typer.Argument(metavar="METHOD", help="one of `scansmith methods`, for example magan")
]
Preset = Annotated[
    str,
    typer.Option(
        help="cpu: sized for two CPU cores, within hours. paper: the paper's numbers, for a GPU. "
        "A method may have more.",
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(metavar="FILE.yaml", help="settings; start from `train METHOD --print-config`"),
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="one setting; may be given many times"),
]
Device = Annotated[str, typer.Option(help="cpu, cuda, ...; auto: cuda if there is one")]
Seed = Annotated[int, typer.Option(min=0, help="same seed, same result")]
Cases = Annotated[int, typer.Option(min=1, help="how many")]


def grid_of(text: str) -> tuple[int, int, int]:
    """ "64,64,20" or "64x64x20" as numbers. Raises SettingsError."""
    parts = text.replace("x", ",").split(",")
    if len(parts) != 3 or not all(part.strip().isdigit() and int(part) > 0 for part in parts):
        raise SettingsError(
            f"--size: found {text!r}, expected 3 whole numbers above 0. For example 96,96,24."
        )
    i, j, k = (int(part) for part in parts)
    return i, j, k


def shard_of(text: str) -> tuple[int, int]:
    """ "2/8" as (2, 8). Raises SettingsError."""
    part, slash, parts = text.partition("/")
    if not (slash and part.isdigit() and parts.isdigit() and 1 <= int(part) <= int(parts)):
        raise SettingsError(
            f"--shard: found {text!r}, expected I/N with I from 1 to N. For example 2/8."
        )
    return int(part), int(parts)


def name_of(text: str) -> tuple[int, str]:
    """ "1=liver" as (1, "liver"). Raises SettingsError."""
    value, equals, name = text.partition("=")
    if not (equals and value.strip().isdigit() and name.strip()):
        raise SettingsError(
            f"--structure: found {text!r}, expected VALUE=NAME. For example 1=liver."
        )
    return int(value), name.strip()


def paths_of(words: list[str]) -> list[tuple[str, str]]:
    """ "t1=a.nii.gz" words as (modality, path). Raises SettingsError."""
    pairs = [word.partition("=") for word in words]
    wrong = [
        word for word, (name, _, path) in zip(words, pairs, strict=True) if not (name and path)
    ]
    if wrong:
        raise SettingsError(
            f"SCAN: found {', '.join(wrong)}, expected MODALITY=PATH of each image. For example "
            "t1=p1_t1.nii.gz flair=p1_flair.nii.gz."
        )
    return [(name, path) for name, _, path in pairs]
