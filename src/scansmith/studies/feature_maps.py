"""What ANT-GAN's generators see and where their slices lie: feature maps and one joint t-SNE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from scansmith.methods.ant_gan import AntGan
from scansmith.scan import DataError

COMPONENTS, PERPLEXITY = 50, 30.0
GAP = 2
# Okabe and Ito's: told apart by readers with any colour vision.
COLOURS = ("#0072B2", "#D55E00", "#56B4E9", "#E69F00")


def feature_sheet(
    method: AntGan, image: np.ndarray, layers: Sequence[str], count: int = 8
) -> np.ndarray:
    """The liveliest maps of chosen layers of A2N, a row for each layer.

    Args:
        image: float32 (C, H, W), network range.
        layers: see `AntGan.features`.
        count: maps a row: those whose values have the largest spread.
    Returns:
        uint8 (rows, columns): the slice, then the maps, each from its least to its greatest value.
    """
    with torch.no_grad():
        seen = method.features(torch.from_numpy(image)[None], layers)
    size = image.shape[1:]
    rows = []
    for layer in layers:
        maps = seen[layer][0].numpy()
        order = np.argsort(-maps.std(axis=(1, 2)), kind="stable")[:count]
        shown = [image[0], *(_enlarged(maps[k], size) for k in order)]
        shown += [np.zeros(size)] * (1 + count - len(shown))
        rows.append(np.concatenate([np.pad(_grey(one), ((0, 0), (0, GAP))) for one in shown], 1))
    return np.concatenate([np.pad(row, ((0, GAP), (0, 0))) for row in rows])


def joint_tsne(sets: Mapping[str, np.ndarray], seed: int = 0) -> dict[str, np.ndarray]:
    """One map of several sets of images: pixels -> 50 principal components -> t-SNE.

    Args:
        sets: name -> images (n, ...), all of one shape.
        seed: of t-SNE.
    Returns:
        Name -> (n, 2). Distances between sets mean something since all were placed together.
    Raises:
        DataError: fewer than four images in all.
    """
    pixels = np.concatenate([images.reshape(len(images), -1) for images in sets.values()])
    if len(pixels) < 4:
        raise DataError(f"t-SNE: found {len(pixels)} images, expected four at least. Give more.")
    components = min(COMPONENTS, *pixels.shape)
    reduced = PCA(components, random_state=seed).fit_transform(pixels.astype(np.float64))
    perplexity = min(PERPLEXITY, (len(pixels) - 1) / 3)
    placed = TSNE(2, perplexity=perplexity, random_state=seed, init="pca").fit_transform(reduced)
    ends = np.cumsum([len(images) for images in sets.values()])[:-1]
    return dict(zip(sets, np.split(placed, ends), strict=True))


def save_map(places: Mapping[str, np.ndarray], path: Path) -> None:
    """Write a joint t-SNE as a PNG, one colour and marker a set."""
    figure = Figure(figsize=(6, 6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for k, (name, points) in enumerate(places.items()):
        colour, marker = COLOURS[k % len(COLOURS)], "ox^s"[k % 4]
        across, down = points.T
        axes.scatter(across, down, color=colour, marker=marker, label=name, alpha=0.8)
    axes.legend(frameon=False)
    axes.set_xticks([])
    axes.set_yticks([])
    figure.savefig(path, dpi=120)


def _grey(values: np.ndarray) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    return np.uint8(255 * (values - low) / max(high - low, 1e-6))  # type: ignore[return-value]


def _enlarged(values: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Nearest neighbour: a map's own pixels are to be seen."""
    rows = np.arange(size[0]) * values.shape[0] // size[0]
    columns = np.arange(size[1]) * values.shape[1] // size[1]
    return values[np.ix_(rows, columns)]
