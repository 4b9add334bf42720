"""Tiny labelled data sets on disk, with known numbers in them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from scansmith.recipe import Draw, Intensity, Recipe

#: RAS, anisotropic (2 x 1 x 5 mm), tilted by about 8 degrees round the patient's long axis.
OBLIQUE = np.array(
    [
        [1.98, -0.14, 0.0, -30.0],
        [0.28, 0.99, 0.0, 12.0],
        [0.0, 0.0, 5.0, -77.0],
        [0.0, 0.0, 0.0, 1.0],
    ]
)


class Folder:
    """An nnU-Net raw data set that grows case by case; liver 1, tumour 2."""

    def __init__(self, root: Path, labels: dict[str, int] | None = None):
        self.root = root
        names = {"background": 0} | (labels or {"liver": 1, "tumour": 2})
        self.json = {"channel_names": {"0": "CT"}, "labels": names, "file_ending": ".nii.gz"}

    def add(self, case, image, labels=None, affine=OBLIQUE):
        self.write(self.root / "imagesTr" / f"{case}_0000.nii.gz", image, affine)
        if labels is not None:
            self.write(self.root / "labelsTr" / f"{case}.nii.gz", labels, affine)
        self.json["numTraining"] = len(list((self.root / "imagesTr").iterdir()))
        (self.root / "dataset.json").write_text(json.dumps(self.json))

    @staticmethod
    def write(path, array, affine=OBLIQUE):
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(array, affine), path)


def liver_case(seed: int, slices: int = 4, tumour_in: tuple[int, ...] = (1, 2)):
    """Image int16 in HU and labels (12, 16, slices): a liver block, a tumour block in some slices.

    The liver covers 6 x 8 = 48 pixels of each slice, of which the tumour takes 2 x 3 = 6.
    """
    rng = np.random.default_rng(seed)
    image = rng.integers(-100, 0, (12, 16, slices)).astype(np.int16)
    labels = np.zeros(image.shape, dtype=np.uint8)
    image[3:9, 4:12] = 100 + rng.integers(-10, 10, (6, 8, slices))
    labels[3:9, 4:12] = 1
    for k in tumour_in:
        image[4:6, 5:8, k] = 50
        labels[4:6, 5:8, k] = 2
    return image, labels


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "source")


@pytest.fixture
def livers(folder: Folder) -> Path:
    """Five patients; the fourth has no tumour."""
    for number in range(5):
        tumour_in = () if number == 3 else (1, 2)
        folder.add(f"liver_{number}", *liver_case(number, 3 + number, tumour_in))
    return folder.root


@pytest.fixture
def recipe() -> Callable[..., Recipe]:
    """A 2D recipe for the livers, at their own grid; keyword arguments change it."""

    def make(**changes) -> Recipe:
        plain = dict(
            method="test",
            dims=2,
            size=(16, 12),
            fit="crop",
            intensity=Intensity(kind="window", low=-200, high=250),
            needs=("liver", "tumor"),
            draws=(Draw(name="abnormal", has=("tumour",)),),
            split=(0.6, 0.2, 0.2),
        )
        return Recipe(**plain | changes)

    return make
