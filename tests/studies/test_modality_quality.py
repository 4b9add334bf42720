"""Segmenters of each modality on real and synthetic volumes: Dice by hand, and the whole of it."""

from __future__ import annotations

import numpy as np
import pytest

from scansmith.data.phantom import write_phantoms
from scansmith.evaluate.modality_segmenters import ModalitySegmenters
from scansmith.studies import modality_quality
from scansmith.studies.counterparts import Case
from scansmith.studies.run import run_study
from scansmith.studies.spec import Analysis, DataPart, Generator


class Brighter:
    """A stand-in for a segmenter: the lesion is where the image is bright."""

    def predict(self, images):
        return (images[:, 0] > 0.5).astype(np.uint8)


class Facts:
    structures = ("background", "tumour", "context")
    modalities = ("t1", "flair")


class Store:
    facts = Facts


def volume(shown):
    """One sample of 8 x 8 with a tumour of 4 pixels; `shown`: columns bright in FLAIR, of two."""
    labels = np.full((1, 8, 8), 2, np.uint8)
    labels[0, 2:4, 2:4] = 1
    image = np.zeros((1, 2, 8, 8), np.float32)
    image[0, 1, 2:4, 2 : 2 + shown] = 1
    return Case("case", "patient", image, labels, (0,))


def test_dice_is_of_each_modality_and_of_what_was_made():
    judges = ModalitySegmenters((Brighter(), Brighter()))
    real, made = volume(2), volume(1)
    of_real = modality_quality.scores([real], judges, Store)["patient/case"]
    of_made = modality_quality.scores([real], judges, Store, [made])["patient/case"]
    assert of_real["flair, tumour"] == 1
    assert of_real["t1, tumour"] == 0  # nothing is found there
    assert of_made["flair, tumour"] == pytest.approx(2 * 2 / (4 + 2))
    assert "flair, context" not in of_real  # which is no finding


def test_pools_are_compared_and_volumes_shown(tmp_path):
    write_phantoms(tmp_path / "raw", "brain", 4, 1, (16, 16, 16))
    small = {"method.base": 2, "method.base_critic": 2, "train.steps": 1, "train.batch": 1}
    data = {"data.size": [16, 16, 16], "data.split": [0.5, 0, 0.5], "data.modality": ["t1"]}
    judges = {"steps": 1, "batch": 1, "numbers": {"base": 2, "depth": 1, "threads": 1}}
    spec = Analysis(
        title="?",
        analysis="modality-quality",
        data=DataPart(method="mm-gan", sets=data),
        options=judges,
        generators={
            "with pool": Generator(method="mm-gan", sets=small),
            "without pool": Generator(method="mm-gan", sets={**small, "method.pool": 0}),
        },
    )
    found = run_study(spec, tmp_path / "raw", tmp_path / "out", seeds=(0,))
    assert set(found["rows"]) == {"real", "with pool", "without pool"}
    assert {"t1, oedema", "t1, whole tumour", "t1, mean"} <= set(found["rows"]["real"])
    assert found["found"]["all"]["test cases"] == 2
    assert "**Dice in t1**" in (tmp_path / "out" / "results.md").read_text()
    for name in ("with-pool", "without-pool"):
        picture = tmp_path / "out" / f"{name}-samples.png"
        assert picture.read_bytes().startswith(b"\x89PNG")
