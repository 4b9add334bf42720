"""What it is worth that instance norm takes group norm's kernel on a CPU (`scansmith.nets.blocks`).

    python benchmarks/instance_norm.py [--rounds 7] [--threads 1]

Single norms and a step of a segmenter, forward and backward in float32, with PyTorch's instance
norm and with scansmith's, taking turns on the same machine so that its other load falls on both
alike. Prints median milliseconds of each, and how many times as long PyTorch's took.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from unittest.mock import patch

import torch
from torch import nn
from torch.nn.modules.instancenorm import _InstanceNorm

from scansmith.nets import blocks
from scansmith.nets.segmenter import SegmenterUNet
from scansmith.train.allocator import keep_freed_memory

NORMS = [
    (8, 16, (96, 96)),
    (1, 32, (128, 128)),
    (2, 16, (40, 56, 40)),
    (1, 8, (40, 56, 40)),
]
SEGMENTERS = [(8, (96, 96)), (2, (40, 56, 40))]


def step(
    network: nn.Module, batch: int, channels: int, size: tuple[int, ...]
) -> Callable[[], None]:
    """Forward and backward."""
    x = torch.randn(batch, channels, *size, requires_grad=channels > 1)
    slopes = torch.randn_like(network(x))
    return lambda: network(x).backward(slopes)


def works() -> list[tuple[str, Callable[[], None]]]:
    found = []
    for batch, channels, size in NORMS:
        norm = blocks.norm("instance", len(size), channels)
        shape = " x ".join(map(str, (batch, channels, *size)))
        found.append((f"norm of {shape}", step(norm, batch, channels, size)))
    for batch, size in SEGMENTERS:
        segmenter = SegmenterUNet(len(size), 1, 3)
        shape = " x ".join(map(str, (batch, *size)))
        found.append((f"segmenter of {shape}", step(segmenter, batch, 1, size)))
    return found


def seconds(work: Callable[[], None]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    keep_freed_memory()  # as training does
    print("| | PyTorch, ms | scansmith, ms | times as long |\n|---|---|---|---|")
    for name, work in works():
        plain, ours = [], []
        for _ in range(asked.rounds + 1):  # the first round warms up
            with patch.object(blocks._InstanceNorm, "forward", _InstanceNorm.forward):
                plain.append(seconds(work))
            ours.append(seconds(work))
        before, now = (1000 * statistics.median(times[1:]) for times in (plain, ours))
        print(f"| {name} | {before:.1f} | {now:.1f} | {before / now:.1f} |", flush=True)


if __name__ == "__main__":
    main()
