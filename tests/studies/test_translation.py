"""The translation study: errors by hand, baselines that know nothing of places."""

import json

import numpy as np
import pytest

from scansmith.data.phantom import write_phantoms
from scansmith.studies import translation
from scansmith.studies.translation import by_grey_values, scores, unchanged
from scansmith.workflow import prepare, train

SETS = ["data.size=32,32", "data.fit=resize", "data.split=0.5,0,0.5", "data.modality=t1,t2"]


@pytest.fixture(scope="module")
def brains(tmp_path_factory):
    root = tmp_path_factory.mktemp("translation")
    write_phantoms(root / "raw", "brain", 4, 1, (32, 32, 8))
    prepare(root / "raw", root / "store", "registered-multimodal", sets=SETS, workers=1)
    small = ["method.base=2", "method.base_images=2", "method.latent=16", "train.steps=1"]
    train("registered-multimodal", root / "store", root / "run", sets=small)
    return root


def test_scores_are_of_the_body_and_of_every_way():
    image = np.zeros((2, 16, 16), np.float32)
    image[0, :, :8], image[1, :, :8] = 0.5, 0.3
    row = scores(image, unchanged)
    # Both ways are wrong by 0.2 in the body, which is half of the slice.
    assert row["mae"] == pytest.approx(0.2)
    assert row["psnr"] == pytest.approx(-20 * np.log10(0.2))
    assert scores(image, lambda x, i, j: x[j])["mae"] == 0


def test_grey_values_are_matched_where_there_is_body(brains):
    store = translation.Store.open(brains / "store")
    translate = by_grey_values(store)
    values = np.concatenate(
        [x[:, (x > 0).any(axis=0)] for _, x in translation.slices_of_split(store, "train")], axis=1
    )
    middle = np.median(values, axis=1)
    image = np.zeros((2, 4, 4), np.float32)
    image[0, 1, 1] = middle[0]
    made = translate(image, 0, 1)
    assert made[1, 1] == pytest.approx(middle[1], abs=0.02)
    assert made[0, 0] == 0


def test_the_command_tells_of_a_run_beside_the_baselines(brains, tmp_path, capsys):
    translation.main([f"ours={brains / 'run'}", "--out", str(tmp_path), "--slices", "1"])
    found = json.loads((tmp_path / "study.json").read_text())
    assert list(found["sets"]) == ["unchanged", "grey values", "ours"]
    assert found["patients"] == 2
    assert "| ours |" in capsys.readouterr().out
