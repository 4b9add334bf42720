"""How much of the writing of synthetic cases hides behind their drawing.

In one process, on the same cases, several rounds in turn:

    take        reading a source case and editing its labels, alone, one thread
    draw        the method alone
    write       our writing alone, one thread (decode, compress, fsync, hash, provenance)
    peer write  decode and nibabel's `save` of the same arrays as .nii.gz, one thread
    in turn     take a case, draw it, write it, take the next: no threads
    overlapped  what `synthesize` does

`hidden` is the share of all but the drawing that the overlap saves: 1 when the whole takes as
long as the drawing alone.

The default method stands in for one on a GPU: it waits, and leaves the processor alone, for as
long as writing a case takes. `--method magan` draws with an untrained MAGAN on `--device`.

    python benchmarks/synthesis.py --size 256 --slices 48
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import torch
from torch import Tensor

from scansmith import workflow
from scansmith.data.phantom import write_phantoms
from scansmith.data.store import Store
from scansmith.methods import find_method
from scansmith.scan import Batch
from scansmith.synthesize.folder import Folder
from scansmith.synthesize.order import Order
from scansmith.synthesize.provenance import Origin
from scansmith.synthesize.source import Sources
from scansmith.synthesize.works import Works

Times = dict[str, list[float]]


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--method", choices=("waiting", "magan"), default="waiting")
    words.add_argument("--size", type=int, default=256, help="pixels of a slice's side")
    words.add_argument("--base", type=int, default=24, help="channels of the first layer")
    words.add_argument("--slices", type=int, default=48, help="slices of a case")
    words.add_argument("--cases", type=int, default=6)
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--threads", type=int, default=1, help="of PyTorch")
    words.add_argument("--device", default="cpu")
    asked = words.parse_args()
    torch.set_num_threads(asked.threads)
    with tempfile.TemporaryDirectory() as folder:
        report(measure(Path(folder), asked))


def measure(root: Path, asked: argparse.Namespace) -> Times:
    """Seconds of each way, one number a round."""
    store = prepared(root, asked)
    kind = find_method("magan")
    settings = workflow.method_settings("magan", preset="cpu", sets=sets(asked))
    method = kind(settings, store.facts).to(asked.device).eval()
    works = Works(
        method, Sources(store, 0), Order(asked.cases, seed=0), Origin("benchmark", "none", "magan")
    )
    sources = [works.sources.take(n) for n in range(asked.cases)]
    if asked.method == "waiting":
        began = time.perf_counter()
        write(works, root / "warm", sources, [source.image for source in sources])
        samples = sum(len(source.labels) for source in sources)
        method.make = waiting((time.perf_counter() - began) / samples)
    images = [works.draw(source) for source in sources]
    ways: dict[str, Callable[[Path], object]] = {
        "take": lambda target: [works.sources.take(n) for n in range(asked.cases)],
        "draw": lambda target: [works.draw(source) for source in sources],
        "write": lambda target: write(works, target, sources, images),
        "peer write": lambda target: peer_write(works, target, sources, images),
        "in turn": lambda target: in_turn(works, target),
        "overlapped": lambda target: overlapped(works, target),
    }
    seconds: Times = {name: [] for name in ways}
    for turn in range(asked.rounds):
        for name, way in ways.items():
            began = time.perf_counter()
            way(root / f"{name.replace(' ', '-')}-{turn}")
            seconds[name].append(time.perf_counter() - began)
    return seconds


def waiting(seconds_a_sample: float) -> Callable[[Batch, torch.Generator], Tensor]:
    """A stand-in for drawing on another device."""

    def make(source: Batch, chance: torch.Generator) -> Tensor:
        time.sleep(seconds_a_sample * len(source.labels))
        return source.image

    return make


def prepared(root: Path, asked: argparse.Namespace) -> Store:
    raw = write_phantoms(root / "raw", "liver", 5, 0, (asked.size, asked.size, asked.slices))
    return workflow.prepare(raw, root / "store", "magan", sets=sets(asked))


def sets(asked: argparse.Namespace) -> tuple[str, ...]:
    return (f"data.size={asked.size},{asked.size}", f"method.base={asked.base}")


def opened(works: Works, target: Path) -> Folder:
    return Folder(target, works.plan(works.store), (1, 1), resume=False)


def write(works: Works, target: Path, sources: list, images: list) -> None:
    folder = opened(works, target)
    for source, image in zip(sources, images, strict=True):
        works.write(folder, source, image)


def peer_write(works: Works, target: Path, sources: list, images: list) -> None:
    target.mkdir()
    for source, image in zip(sources, images, strict=True):
        scan = works.store.scan(source.case, image, source.labels)
        for name, array in (("image", scan.image[0].astype("int16")), ("labels", scan.labels)):
            path = target / f"{source.number}_{name}.nii.gz"
            nib.save(nib.Nifti1Image(array, scan.affine), path)


def in_turn(works: Works, target: Path) -> None:
    folder = opened(works, target)
    for number in range(works.cases):
        source = works.sources.take(number)
        works.write(folder, source, works.draw(source))


def overlapped(works: Works, target: Path) -> None:
    works.fill(opened(works, target), lambda done, total, text: None)


def report(seconds: Times) -> None:
    median = {name: statistics.median(times) for name, times in seconds.items()}
    for name, times in seconds.items():
        print(f"{name:12} {median[name]:8.3f} s   ({min(times):.3f} to {max(times):.3f})")
    saved = median["in turn"] - median["overlapped"]
    print(f"overlapped / in turn   {median['overlapped'] / median['in turn']:.2f}")
    print(f"hidden                 {saved / (median['take'] + median['write']):.2f}")
    print(f"write / peer write     {median['write'] / median['peer write']:.2f}")


if __name__ == "__main__":
    main()
