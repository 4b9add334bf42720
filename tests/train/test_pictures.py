from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from scansmith.train.pictures import COLOURS, GAP, TITLE, save_grid


def picture(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_images_are_grey_on_the_scale_of_the_real_ones(tmp_path: Path) -> None:
    real = torch.zeros(2, 1, 128, 130)
    real[0], real[1] = -1.0, 3.0
    made = torch.full((2, 1, 128, 130), 1.0)
    made[1] = 99.0
    save_grid({"made": made, "real": real}, tmp_path / "grid.png")
    shown = picture(tmp_path / "grid.png")
    assert shown.shape == (TITLE + 2 * (128 + GAP), 2 * (130 + GAP), 3)
    below, right = TITLE + 128 + GAP + 5, 130 + GAP + 5
    assert shown[TITLE + 5, 5, 0] == 128  # half way from -1 to 3
    assert shown[below, 5, 0] == 255  # clipped
    assert shown[TITLE + 5, right, 0] == 0
    assert shown[below, right, 0] == 255


def test_labels_are_coloured_and_small_samples_enlarged(tmp_path: Path) -> None:
    labels = torch.tensor([[[0, 1], [2, 17]]])  # 64 times as large; colours start again at 16
    save_grid({"labels": labels}, tmp_path / "grid.png")
    shown = picture(tmp_path / "grid.png")[TITLE:]
    assert shown[5, 5].tolist() == COLOURS[0].tolist()
    assert shown[5, 70].tolist() == COLOURS[1].tolist()
    assert shown[70, 5].tolist() == COLOURS[2].tolist()
    assert shown[70, 70].tolist() == COLOURS[1].tolist()


def test_a_volume_shows_the_middle_slice_of_each_axis_with_the_head_up(tmp_path: Path) -> None:
    volume = torch.zeros(1, 1, 4, 128, 6)  # D, H, W
    volume[0, 0, 3] = 1.0  # the slice nearest to the head
    volume[0, 0, 2, 64, 3] = 0.5
    save_grid({"made": volume}, tmp_path / "grid.png")
    shown = picture(tmp_path / "grid.png")[TITLE:, :, 0]
    axial, coronal, sagittal = shown[:, :6], shown[:4, 6:12], shown[:4, 12:140]
    assert axial[64, 3] == 128
    assert coronal[0].tolist() == [255] * 6
    assert coronal[1].tolist() == [0, 0, 0, 128, 0, 0]
    assert sagittal[0].tolist() == [255] * 128
    assert sagittal[1, 64] == 128


def test_four_modalities_at_most_have_a_column_each(tmp_path: Path) -> None:
    save_grid({"made": torch.rand(1, 6, 128, 128)}, tmp_path / "grid.png")
    assert picture(tmp_path / "grid.png").shape[1] == 4 * (128 + GAP)


def test_columns_are_called_after_their_modalities(tmp_path: Path, monkeypatch) -> None:
    said = []
    monkeypatch.setattr(ImageDraw.ImageDraw, "text", lambda pen, at, text, **how: said.append(text))
    panels = {
        "labels": torch.zeros(1, 32, 32, dtype=torch.long),
        "made": torch.rand(1, 2, 32, 32),
        "change": torch.rand(1, 1, 32, 32),
        "parts": torch.rand(1, 3, 32, 32),  # not the modalities
    }
    save_grid(panels, tmp_path / "grid.png", ["flair", "t1"])
    parts = ["parts 1", "parts 2", "parts 3"]
    assert said == ["labels", "made flair", "made t1", "change", *parts]
