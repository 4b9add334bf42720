"""What a whole volume costs MM-GAN: memory and seconds of a training step, and of making one.

    python benchmarks/whole_volume_memory.py [--size 150 200 160] [--device cpu|cuda]

For fp32 and bf16, blocks kept or worked out again (`method.checkpoint`):

    saved      bytes kept for the backward pass, counted on tensors without data
    counted    the most bytes alive at any time of a step, counted likewise: weights, their Adam
               moments, the pool of four, the batch, activations and gradients. What a convolution
               takes for its own work is not in it
    step, make measured, each in a process of its own: median seconds, and the peak of that process
               (CPU: resident memory, PyTorch itself included; CUDA: allocated memory)

Counting needs no memory and no GPU; `--count-only` leaves the measuring out. Autocast follows the
CPU's rules there, which keep more tensors in full precision than CUDA's.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
import weakref
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from scansmith.methods.mm_gan import MmGan
from scansmith.recipe import Codec, Facts
from scansmith.scan import Batch
from scansmith.settings import load_settings
from scansmith.train.allocator import keep_freed_memory
from scansmith.train.arena import Arena

VARIANTS = [(precision, kept) for precision in ("fp32", "bf16") for kept in (False, True)]
STRUCTURES = ("background", "necrosis", "oedema", "enhancing", "context")
GB = 1e9


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--size", type=int, nargs=3, default=(150, 200, 160), help="D H W")
    words.add_argument("--modalities", type=int, default=1, help="with as many generators")
    words.add_argument("--base", type=int, default=8)
    words.add_argument("--device", default="cpu")
    words.add_argument("--threads", type=int, default=0)
    words.add_argument("--steps", type=int, default=2, help="timed, after one that is not")
    words.add_argument("--only", choices=[named(*v) for v in VARIANTS], help="one variant")
    words.add_argument("--count-only", action="store_true")
    words.add_argument("--child", help=argparse.SUPPRESS)
    asked = words.parse_args()
    if asked.child:
        print(json.dumps(measured(asked)))
        return
    print(f"{'variant':18} {'saved':>8} {'counted':>8} {'step':>18} {'make':>18}")
    for precision, checkpoint in VARIANTS:
        name = named(precision, checkpoint)
        if asked.only in (None, name):
            saved, peak = counted(asked, precision, checkpoint)
            line = f"{name:18} {saved / GB:5.2f} GB {peak / GB:5.2f} GB"
            print(line + ("" if asked.count_only else times(asked, name)), flush=True)


def named(precision: str, checkpoint: bool) -> str:
    return f"{precision}, {'checkpoint' if checkpoint else 'kept'}"


def game_of(asked: argparse.Namespace, precision: str, checkpoint: bool) -> MmGan:
    modalities = tuple(f"m{place}" for place in range(asked.modalities))
    preset = {
        "data.size": tuple(asked.size),
        "method.base": asked.base,
        "method.checkpoint": checkpoint,
        "train.precision": precision,
    }
    codec = Codec(offset=0, scale=5, low=-1, high=1, background=-1, data_range=10)
    facts = Facts(
        dims=3,
        size=tuple(asked.size),
        modalities=modalities,
        structures=STRUCTURES,
        codecs=(codec,) * asked.modalities,
    )
    torch.manual_seed(0)
    return MmGan(load_settings(MmGan.settings_type, preset=preset), facts)


def batch_of(asked: argparse.Namespace) -> Batch:
    labels = torch.randint(0, len(STRUCTURES), (1, *asked.size))
    return Batch(torch.rand(1, asked.modalities, *asked.size) - 0.5, labels)


class Alive(TorchDispatchMode):
    """Counts the bytes of storages that come and go."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self.known: dict[int, Any] = {}

    def see(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        number, size = id(storage), storage.nbytes()
        if number not in self.known:
            self.known[number] = weakref.ref(storage, lambda _: self.forget(number, size))
            self.now += size
            self.most = max(self.most, self.now)

    def forget(self, number: int, size: int) -> None:
        self.now -= size
        del self.known[number]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self.see(leaf)
        return result


def counted(asked: argparse.Namespace, precision: str, checkpoint: bool) -> tuple[int, int]:
    """Bytes kept for the backward pass of a scene, and the most alive in a step."""
    saved: dict[int, tuple[Any, int]] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        saved[id(storage)] = storage, storage.nbytes()
        return tensor

    with FakeTensorMode():
        game, batch = game_of(asked, precision, checkpoint), batch_of(asked)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
            scene = play(game, batch, precision)
        kept = sum(size for _, size in saved.values())
        saved.clear()
        del scene, game, batch
        with Alive() as alive:
            game, batch = game_of(asked, precision, checkpoint), batch_of(asked)
            adam = {p.name: adam_of(p) for p in game.players()}
            pool = [
                (torch.zeros_like(batch.labels, dtype=torch.uint8), torch.zeros_like(batch.image))
                for _ in range(4)
            ]
            step(game, batch, adam, precision)
            step(game, batch, adam, precision)
        del pool
    return kept, alive.most


def adam_of(player: Any) -> torch.optim.Optimizer:
    parameters = [p for network in player.moves for p in network.parameters()]
    return torch.optim.Adam(parameters, player.learning_rate, player.betas, foreach=False)


def play(game: MmGan, batch: Batch, precision: str) -> dict[str, Tensor]:
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        return {name: full(t) for name, t in game.train().play({"labelled": batch}).items()}


def full(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def step(game: MmGan, batch: Batch, adam: dict[str, Any], precision: str) -> None:
    """A training step as the arena does it, without its look at the numbers."""
    game.requires_grad_(True)
    scene = play(game, batch, precision)
    shown = {name: tensor.detach() for name, tensor in scene.items()}
    for player in game.players():
        game.requires_grad_(False)
        for network in player.moves:
            network.requires_grad_(True)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            terms = player.loss(shown if player.critic else scene)
        moved = [p for network in player.moves for p in network.parameters()]
        torch.autograd.backward(torch.stack(list(terms.values())).sum(), inputs=moved)
        adam[player.name].step()
        adam[player.name].zero_grad()


def times(asked: argparse.Namespace, name: str) -> str:
    """The variant measured in two processes, as the rest of its line."""
    words = []
    for what in ("step", "make"):
        command = [sys.executable, __file__, *sys.argv[1:], "--child", f"{what}, {name}"]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        found = json.loads(done.stdout)
        words.append(f"{found['seconds']:7.1f} s {found['bytes'] / GB:5.2f} GB")
    return "  " + "  ".join(words)


def measured(asked: argparse.Namespace) -> dict[str, float]:
    what, precision, kept = asked.child.split(", ")
    if asked.threads:
        torch.set_num_threads(asked.threads)
    keep_freed_memory()
    device = torch.device(asked.device)
    game, batch = game_of(asked, precision, kept == "checkpoint"), batch_of(asked)
    arena = Arena(game, game.settings.train, device)
    if what == "make":
        seconds = making(arena, batch.to(device), asked.steps)
    else:
        seconds = [timed(lambda n=n: arena.step(n, {"labelled": batch}, "benchmark"), device)
                   for n in range(1, asked.steps + 2)]  # fmt: skip
    if device.type == "cuda":
        most = torch.cuda.max_memory_allocated(device)
    else:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"seconds": statistics.median(seconds[1:]), "bytes": most}


def making(arena: Arena, batch: Batch, times: int) -> list[float]:
    with arena.showing() as game:
        assert isinstance(game, MmGan)
        chance = torch.Generator()
        device = batch.image.device
        return [timed(lambda: game.make(batch, chance), device) for _ in range(times + 1)]


def timed(do: Any, device: torch.device) -> float:
    began = time.perf_counter()
    do()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
