"""Tiny real parts: data sets on disk, a store prepared from them, a method that colours labels."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import nn

from scansmith.data.prepare import prepare
from scansmith.data.store import Store
from scansmith.methods.base import Method
from scansmith.recipe import Draw, Edits, Intensity, Recipe
from scansmith.settings import Settings

LIVER, TUMOUR = 1, 2


class Painter(Method):
    """Draws labels as a fixed colour of each structure, plus noise; brighter in later samples."""

    name, title, paper, needs = "painter", "Painter", "none", "anything"
    settings_type = Settings

    def __init__(self, settings, facts):
        super().__init__(settings, facts)
        chance = torch.Generator().manual_seed(0)
        self.colours = nn.Parameter(torch.rand(len(facts.structures), generator=chance) - 0.5)
        self.made = 0

    @classmethod
    def recipe(cls, settings):
        return Recipe(
            method="painter",
            dims=2,
            size=(16, 12),
            fit="crop",
            modalities=("ct",),
            intensity=Intensity(kind="window", low=-200, high=250),
            edits=Edits(kind="place", lesion=("tumour",), organ=("liver",)),
            draws=(Draw(name="real"),),
            split=(0.8, 0.0, 0.2),
        )

    def play(self, batch):
        raise NotImplementedError

    def players(self):
        raise NotImplementedError

    def make(self, source, chance):
        self.made += len(source.labels)
        made = self.colours[source.labels][:, None].expand(source.image.shape)
        return made + 0.01 * torch.rand(source.image.shape, generator=chance)


class VolumePainter(Painter):
    """The same for whole volumes of two MR modalities, whose labels are deformed."""

    name = "volume-painter"

    @classmethod
    def recipe(cls, settings):
        return Recipe(
            method="volume-painter",
            dims=3,
            size=(8, 16, 12),
            fit="crop",
            channels=2,
            intensity=Intensity(kind="minmax", scope="case", background=-1.0),
            edits=Edits(kind="deform"),
            split=(0.8, 0.0, 0.2),
        )


def write_nifti(path, array, affine):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)


def write_liver(root: Path, cases: int = 7, healthy: int = 0) -> Path:
    """An nnU-Net raw data set: boxes of liver in air; all but the first `healthy` have tumour."""
    rng = np.random.default_rng(5)
    affine = np.diag([-1.5, -1.5, 4.0, 1.0])  # LPS, thick slices
    affine[:3, 3] = (10, 20, -30)
    for n in range(cases):
        shape = (12, 16, 9 + n % 3)
        labels = np.zeros(shape, np.uint8)
        labels[1:-1, 2:-2, 1:-1] = LIVER
        if n >= healthy:
            labels[3:6, 4:7, 2:4] = TUMOUR
            labels[4 + n % 2, 7, 2] = TUMOUR
        image = np.choose(labels, (-150, 100, 40)) + rng.integers(-9, 9, shape)
        write_nifti(root / f"imagesTr/liver_{n:03}_0000.nii.gz", image.astype(np.int16), affine)
        write_nifti(root / f"labelsTr/liver_{n:03}.nii.gz", labels, affine)
    (root / "dataset.json").write_text(
        json.dumps(
            {
                "channel_names": {"0": "CT"},
                "labels": {"background": 0, "liver": 1, "tumour": 2},
                "numTraining": cases,
                "file_ending": ".nii.gz",
            }
        )
    )
    return root


def write_brains(root: Path, cases: int = 5) -> Path:
    """A BraTS data set of T1 and FLAIR with labels 1, 2 and 4."""
    rng = np.random.default_rng(6)
    affine = np.diag([-1.0, -1.2, 3.0, 1.0])
    for n in range(cases):
        labels = np.zeros((12, 16, 8), np.uint8)
        labels[3:9, 4:12, 2:7] = 2
        labels[4:8, 5:10, 3:6] = 4
        labels[5:7, 6:9, 4:5] = 1
        for modality in ("t1", "flair"):
            image = (200 + 50 * labels + rng.integers(0, 9, labels.shape)).astype(np.int16)
            image[:2] = 0
            write_nifti(root / f"b_{n}" / f"b_{n}_{modality}.nii.gz", image, affine)
        write_nifti(root / f"b_{n}" / f"b_{n}_seg.nii.gz", labels, affine)
    return root


def painter(store: Store, kind: type[Painter] = Painter) -> Painter:
    return kind(Settings(), store.facts).eval()


@pytest.fixture(scope="session")
def liver(tmp_path_factory) -> Store:
    root = tmp_path_factory.mktemp("liver")
    source = write_liver(root / "raw")
    return prepare(source, root / "store", Painter.recipe(Settings()), workers=1)


@pytest.fixture(scope="session")
def brains(tmp_path_factory) -> Store:
    root = tmp_path_factory.mktemp("brains")
    source = write_brains(root / "raw")
    return prepare(source, root / "store", VolumePainter.recipe(Settings()), workers=1)


@pytest.fixture(scope="session")
def parts():
    """The functions of this file, which tests cannot import by name."""
    return sys.modules[__name__]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, hidden ones too: relative name -> bytes."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
