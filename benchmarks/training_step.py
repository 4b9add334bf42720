"""What the levers of the training loop are worth, on a pix2pix step of full shape.

    python benchmarks/training_step.py [--dims 2|3] [--size 256] [--base 32] [--rounds 4]

Variants, each in a process of its own, taking turns on the same machine so that its other load
falls on all alike:

    plain             a hand-written step: PyTorch as it comes, Adam as it comes
    plain, allocator  the same after `keep_freed_memory`
    loop              scansmith's `fit`, with its logs, finiteness checks and determinism
    loop, bf16        the same with train.precision=bf16

Prints median seconds of a step, wall and processor, and their ratio to `plain` in this run.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, leaky_relu, relu

from scansmith.game import Game, Player, Scene, Terms
from scansmith.scan import Batch
from scansmith.settings import TrainSettings
from scansmith.train.allocator import keep_freed_memory
from scansmith.train.loop import fit

VARIANTS = ("plain", "plain, allocator", "loop", "loop, bf16")
STEPS_A_ROUND = 3
WARM_UP = 2


class UNet(nn.Module):
    """pix2pix's generator: k4 s2 down and up, batch norm, skips, dropout."""

    def __init__(self, dims: int, levels: int, base: int):
        super().__init__()
        conv = nn.Conv2d if dims == 2 else nn.Conv3d
        back = nn.ConvTranspose2d if dims == 2 else nn.ConvTranspose3d
        norm = nn.BatchNorm2d if dims == 2 else nn.BatchNorm3d
        widths = [min(base * 2**level, base * 8) for level in range(levels)]
        self.down = nn.ModuleList(
            nn.Sequential(conv(a, b, 4, 2, 1), norm(b) if 0 < n < levels - 1 else nn.Identity())
            for n, (a, b) in enumerate(itertools.pairwise([1, *widths]))
        )
        ups = list(zip([*widths[::-1]], [*widths[-2::-1], 1], strict=True))
        self.up = nn.ModuleList(
            nn.Sequential(
                back(a if n == 0 else 2 * a, b, 4, 2, 1),
                norm(b) if n < levels - 1 else nn.Identity(),
                nn.Dropout(0.5) if n < 3 else nn.Identity(),
            )
            for n, (a, b) in enumerate(ups)
        )

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for down in self.down:
            x = down(x if not skips else leaky_relu(x, 0.2))
            skips.append(x)
        for n, up in enumerate(self.up):
            skip = skips[-1 - n]
            x = up(relu(x if n == 0 else torch.cat([x, skip], dim=1)))
        return torch.tanh(x)


def critic(dims: int, base: int) -> nn.Sequential:
    """pix2pix's critic of 70 pixels."""
    conv = nn.Conv2d if dims == 2 else nn.Conv3d
    norm = nn.BatchNorm2d if dims == 2 else nn.BatchNorm3d
    layers: list[nn.Module] = [conv(2, base, 4, 2, 1), nn.LeakyReLU(0.2)]
    for a, b, stride in ((1, 2, 2), (2, 4, 2), (4, 8, 1)):
        layers += [conv(base * a, base * b, 4, stride, 1), norm(base * b), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, conv(base * 8, 1, 4, 1, 1))


class Pix2Pix(Game):
    def __init__(self, dims: int, size: int, base: int):
        super().__init__()
        torch.manual_seed(0)
        self.generator = UNet(dims, size.bit_length() - 1, base)
        self.critic = critic(dims, base)

    def play(self, batch: Mapping[str, Batch]) -> Scene:
        image, source = batch["real"].image[:, :1], batch["real"].image[:, 1:]
        return {"real": image, "source": source, "made": self.generator(source)}

    def players(self) -> list[Player]:
        return [
            Player("critic", (self.critic,), self.critic_loss, critic=True),
            Player("generator", (self.generator,), self.generator_loss),
        ]

    def judge(self, scene: Scene, name: str, truth: float) -> Tensor:
        map_ = self.critic(torch.cat([scene["source"], scene[name]], dim=1)).float()
        return binary_cross_entropy_with_logits(map_, torch.full_like(map_, truth))

    def critic_loss(self, scene: Scene) -> Terms:
        return {"real": self.judge(scene, "real", 1), "fake": self.judge(scene, "made", 0)}

    def generator_loss(self, scene: Scene) -> Terms:
        l1 = 100 * (scene["real"] - scene["made"]).abs().mean()
        return {"fool": self.judge(scene, "made", 1), "l1": l1}


class Turns:
    """The times of steps, taken only while the parent gives this process its turn."""

    def __init__(self, dims: int, size: int):
        self.image = torch.rand(1, 2, *(size,) * dims) * 2 - 1
        self.labels = torch.zeros(1, *(size,) * dims, dtype=torch.int64)
        self.began: tuple[float, float] | None = None
        self.times: list[tuple[float, float]] = []

    def __call__(self, step: int) -> dict[str, Batch]:
        now = time.perf_counter(), time.process_time()
        if self.began is not None and step > WARM_UP + 1:
            self.times.append((now[0] - self.began[0], now[1] - self.began[1]))
        if step > WARM_UP and (step - WARM_UP - 1) % STEPS_A_ROUND == 0:
            print(*(f"{wall} {cpu}" for wall, cpu in self.times), sep=";", flush=True)
            self.times.clear()
            if not sys.stdin.readline():
                sys.exit()
        self.began = time.perf_counter(), time.process_time()
        return {"real": Batch(self.image, self.labels)}


def plain(game: Pix2Pix, turns: Turns, steps: int) -> None:
    """The step as one writes it by hand."""
    d = torch.optim.Adam(game.critic.parameters(), 2e-4, (0.5, 0.999))
    g = torch.optim.Adam(game.generator.parameters(), 2e-4, (0.5, 0.999))
    for step in range(1, steps + 1):
        scene = game.play(turns(step))
        game.critic.requires_grad_(True)
        d.zero_grad()
        sum(game.critic_loss({**scene, "made": scene["made"].detach()}).values()).backward()
        d.step()
        game.critic.requires_grad_(False)
        g.zero_grad()
        sum(game.generator_loss(scene).values()).backward()
        g.step()


def work(variant: str, dims: int, size: int, base: int, rounds: int) -> None:
    game, turns = Pix2Pix(dims, size, base), Turns(dims, size)
    steps = WARM_UP + rounds * STEPS_A_ROUND + 1
    if variant.startswith("plain"):
        if "allocator" in variant:
            keep_freed_memory()
        plain(game, turns, steps)
        return
    settings = TrainSettings(
        steps=steps,
        device="cpu",
        precision="bf16" if "bf16" in variant else "fp32",
        checkpoint_every=10**9,
        sample_at=(),
    )
    with tempfile.TemporaryDirectory() as folder:
        fit(game, turns, Path(folder) / "run", settings, record={"method": "pix2pix"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dims", type=int, default=2)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--base", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--variant", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.variant:
        work(asked.variant, asked.dims, asked.size, asked.base, asked.rounds)
        return
    workers = {
        variant: subprocess.Popen(
            [sys.executable, __file__, *sys.argv[1:], "--variant", variant],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for variant in VARIANTS
    }
    found: dict[str, list[tuple[float, float]]] = {variant: [] for variant in VARIANTS}
    for worker in workers.values():  # all are warm before the first turn
        assert worker.stdout is not None
        worker.stdout.readline()
    for _ in range(asked.rounds):
        for variant, worker in workers.items():
            assert worker.stdin is not None
            assert worker.stdout is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
            for pair in worker.stdout.readline().strip().split(";"):
                wall, cpu = pair.split()
                found[variant].append((float(wall), float(cpu)))
    for worker in workers.values():
        assert worker.stdin is not None
        worker.stdin.close()
        worker.wait()
    middle = {v: [statistics.median(c) for c in zip(*t, strict=True)] for v, t in found.items()}
    print(f"{asked.dims}D {asked.size} px, base {asked.base}, {torch.get_num_threads()} threads")
    for variant, (wall, cpu) in middle.items():
        of_wall, of_cpu = wall / middle["plain"][0], cpu / middle["plain"][1]
        print(f"{variant:18} {wall:7.3f} s wall ({of_wall:.2f})  {cpu:7.3f} s cpu ({of_cpu:.2f})")


if __name__ == "__main__":
    main()
