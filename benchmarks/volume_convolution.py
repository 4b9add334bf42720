"""What it is worth that one small volume is convolved in two halves (`scansmith.nets.blocks`).

    python benchmarks/volume_convolution.py [--rounds 5] [--threads 1]

Single layers, and a step of MM-GAN's generator and critic for one modality, forward and backward,
with PyTorch's own layer and with scansmith's, taking turns on the same machine so that its other
load falls on both alike. Prints median milliseconds of each, and how many times as long PyTorch's
took.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from scansmith import losses
from scansmith.nets.blocks import Conv3d
from scansmith.nets.volume_critic import VolumeCritic
from scansmith.nets.volume_unet import VolumeUNet

LAYERS = [
    (16, 8, (32, 32, 32)),
    (8, 8, (32, 32, 32)),
    (32, 16, (16, 16, 16)),
    (64, 32, (8, 8, 8)),
    (8, 8, (40, 56, 40)),
    (16, 8, (40, 56, 40)),  # large enough for PyTorch's own rule: nothing is changed
]
STEPS = [(8, (32, 32, 32)), (11, (40, 56, 40))]


def layer(inputs: int, outputs: int, size: tuple[int, ...]) -> tuple[str, Callable[[], None]]:
    """Forward and backward of a k3 convolution."""
    convolution = Conv3d(inputs, outputs, 3, padding=1)
    x = torch.randn(1, inputs, *size, requires_grad=True)
    shape = " x ".join(map(str, size))
    return f"{inputs} to {outputs} channels, {shape}", lambda: convolution(x).sum().backward()


def game(structures: int, size: tuple[int, ...]) -> tuple[str, Callable[[], None]]:
    """Both players' losses and their gradients, as in training, without the optimisers."""
    generator = VolumeUNet(structures, 1)
    critic = VolumeCritic(structures, 1, spectral=False, norm_kind="instance")
    labels, real = torch.randn(1, structures, *size), torch.rand(1, 1, *size)

    def step() -> None:
        made = generator(labels)
        fake = critic(labels, made.detach())
        losses.lsgan_critic(critic(labels, real), fake).backward()
        losses.lsgan_generator(critic(labels, made)).backward()

    return f"MM-GAN step, {structures} structures, {' x '.join(map(str, size))}", step


def seconds(work: Callable[[], None], whole: bool) -> float:
    """The time of one call; `whole`: with PyTorch's own layer."""
    kept = Conv3d.forward
    if whole:
        Conv3d.forward = nn.Conv3d.forward  # type: ignore[method-assign]
    try:
        begun = time.perf_counter()
        work()
        return time.perf_counter() - begun
    finally:
        Conv3d.forward = kept  # type: ignore[method-assign]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    print("| | PyTorch, ms | in halves, ms | times as long |\n|---|---|---|---|")
    for name, work in [*(layer(*one) for one in LAYERS), *(game(*one) for one in STEPS)]:
        found = {True: list[float](), False: list[float]()}
        for turn in range(asked.rounds + 1):
            for whole, times in found.items():
                took = seconds(work, whole)
                if turn:  # the first round warms up
                    times.append(took)
        plain, ours = (1000 * statistics.median(found[whole]) for whole in (True, False))
        print(f"| {name} | {plain:.1f} | {ours:.1f} | {plain / ours:.1f} |", flush=True)


if __name__ == "__main__":
    main()
