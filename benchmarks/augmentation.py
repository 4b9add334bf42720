"""Classical augmentation beside MONAI's transforms of the same kinds and ranges.

In one process, one thread, several rounds in turn: a batch moved, bent and relit by
`scansmith.augment`, and its samples one by one by MONAI (elastic field with rotation, size and
shift; contrast; brightness; noise). Median CPU milliseconds of a batch, and their ratio.

    python benchmarks/augmentation.py
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from monai.transforms import (
    Compose,
    Rand2DElasticd,
    Rand3DElasticd,
    RandGaussianNoised,
    RandScaleIntensityd,
    RandShiftIntensityd,
)

from scansmith.augment import augmented
from scansmith.settings import Augmentation

#: Samples in a batch, modalities, size: what heart, cube and hippocampus segmenters learn from.
BATCHES = ((4, 1, (128, 128)), (2, 4, (32, 32, 32)), (2, 1, (40, 56, 40)))


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--rounds", type=int, default=7)
    words.add_argument("--repeats", type=int, default=5, help="batches of a round")
    asked = words.parse_args()
    torch.set_num_threads(1)
    for count, channels, size in BATCHES:
        image, labels = torch.randn(count, channels, *size), torch.randint(0, 3, (count, *size))
        ours, peer = _ours(image, labels), _peer(image, labels)
        times: dict[str, list[float]] = {"ours": [], "peer": []}
        for _ in range(asked.rounds):
            for name, work in (("ours", ours), ("peer", peer)):
                began = time.process_time()
                for _ in range(asked.repeats):
                    work()
                times[name].append((time.process_time() - began) / asked.repeats * 1000)
        found = {name: statistics.median(each) for name, each in times.items()}
        print(
            f"{count} x {channels} x {size}: ours {found['ours']:.1f} ms, MONAI "
            f"{found['peer']:.1f} ms, ratio {found['peer'] / found['ours']:.1f}"
        )


def _ours(image: torch.Tensor, labels: torch.Tensor) -> Callable[[], Any]:
    numbers = Augmentation()
    return lambda: augmented(image, labels, numbers)


def _peer(image: torch.Tensor, labels: torch.Tensor) -> Callable[[], Any]:
    numbers, size = Augmentation(), image.shape[2:]
    both: dict[str, Any] = {
        "keys": ("image", "labels"),
        "prob": numbers.moved,
        "rotate_range": [math.radians(numbers.degrees)] * (1 if len(size) == 2 else 3),
        "scale_range": [numbers.scale] * len(size),
        "translate_range": [numbers.shift * side for side in size],
        "mode": ("bilinear", "nearest"),
        "padding_mode": "border",
    }
    if len(size) == 2:
        spacing = tuple(side // numbers.nodes for side in size)
        bent: Any = Rand2DElasticd(spacing=spacing, magnitude_range=(1, 3), **both)
    else:
        bent = Rand3DElasticd(sigma_range=(4, 6), magnitude_range=(50, 100), **both)
    whole = Compose(
        [
            bent,
            RandScaleIntensityd("image", numbers.gain, prob=1),
            RandShiftIntensityd("image", numbers.offset, prob=1),
            RandGaussianNoised("image", std=numbers.noise, prob=1),
        ]
    )

    def work() -> None:
        for sample, own in zip(image, labels, strict=True):
            whole({"image": sample, "labels": own[None].float()})

    return work


if __name__ == "__main__":
    main()
