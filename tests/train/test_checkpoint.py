from __future__ import annotations

import hashlib
import json
import pickle
import shutil
import struct
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from scansmith.scan import RunError
from scansmith.train import checkpoint
from scansmith.train.checkpoint import Progress


class Bomb:
    """Unpickling it writes a file: code that runs."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.fixture(scope="session")
def trained(tiny: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("trained") / "run"
    tiny.train(run, tiny.SETTINGS.model_copy(update={"steps": 4}))
    return run


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A run of 4 steps whose last checkpoint tests can spoil."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


def entry(kind: str, shape: list[int], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}


def spoil(run: Path, data: bytes) -> None:
    """Put other bytes in the place of the tensors, with a digest that fits them."""
    path = run / "checkpoints" / "step_00000004.safetensors"
    path.write_bytes(data)
    numbers = json.loads(path.with_suffix(".json").read_text())
    numbers |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    path.with_suffix(".json").write_text(json.dumps(numbers))


def header(content: dict[str, Any], data: bytes = b"") -> bytes:
    text = json.dumps(content).encode()
    return struct.pack("<Q", len(text)) + text + data


def test_a_state_survives_saving_and_loading(tmp_path: Path) -> None:
    shared = torch.arange(6.0)
    tensors = {
        "weights/a": torch.randn(2, 3, 4).movedim(0, 2),
        "weights/b": shared,
        "weights/tied": shared,
        "weights/part": shared[2:4],
        "weights/count": torch.tensor(7),
        "pool/0/0/0": torch.randn(3).bfloat16(),
    }
    progress = Progress(step=12, running={"x": (0.1 + 0.2, 1.99)}, pools=(1,))
    checkpoint.save(tmp_path, "step", tensors, progress)
    loaded, numbers = checkpoint.load(tmp_path, "step", 12)
    assert loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)
    assert loaded["weights/a"].dtype == torch.float32
    assert loaded["pool/0/0/0"].dtype == torch.bfloat16
    assert numbers.running == {"x": (0.30000000000000004, 1.99)}
    mode = (tmp_path / "checkpoints" / "step_00000012.safetensors").stat().st_mode
    assert mode == (tmp_path / "checkpoints" / "step_00000012.json").stat().st_mode


def test_only_the_newest_are_kept_and_a_checkpoint_without_json_is_none(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        checkpoint.save(tmp_path, "step", {"weights/a": torch.zeros(1)}, Progress(step=step))
    checkpoint.prune(tmp_path, "step", 2)
    assert checkpoint.steps(tmp_path) == [2, 3]
    (tmp_path / "checkpoints" / "step_00000003.json").unlink()
    (tmp_path / "checkpoints" / ".step_00000004.json.99.tmp").write_text("half")
    assert checkpoint.steps(tmp_path) == [2]
    checkpoint.sweep(tmp_path)
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["step_00000002.json", "step_00000002.safetensors"]


def test_weights_come_last_best_or_averaged(tiny: ModuleType, run: Path) -> None:
    game = tiny.tiny_gan()
    last = checkpoint.load_weights(run)
    averaged = checkpoint.load_weights(run, "best", ema=True)
    game.load_state_dict(last)
    game.load_state_dict(averaged)
    name = "generator.0.weight"
    assert not torch.equal(last[name], checkpoint.load_weights(run, ema=True)[name])
    critic = "critic.3.weight"
    assert torch.equal(last[critic], checkpoint.load_weights(run, ema=True)[critic])
    with pytest.raises(RunError, match="no best checkpoint"):
        checkpoint.load_weights(run / "samples", "best")


@pytest.mark.parametrize(
    ("what", "data"),
    [
        ("empty", b""),
        ("short", b"\x04\x00"),
        ("huge header", struct.pack("<Q", 2**62) + b"{}"),
        ("nonsense header", struct.pack("<Q", 4) + b"[1]x"),
        ("data beyond the end", header({"a": entry("F32", [9], 0, 36)})),
        (
            "offsets overlap",
            header({"a": entry("F32", [1], 0, 4), "b": entry("F32", [1], 0, 4)}, bytes(4)),
        ),
        ("shape overflows", header({"a": entry("F32", [2**40, 2**40], 0, 4)}, bytes(4))),
        ("unknown type", header({"a": entry("OBJ", [1], 0, 4)}, bytes(4))),
        ("deep", struct.pack("<Q", 200_000) + b"[" * 200_000),
    ],
)
def test_a_crafted_file_of_tensors_is_refused(
    tiny: ModuleType, run: Path, what: str, data: bytes
) -> None:
    spoil(run, data)
    with pytest.raises(RunError, match=r"step_00000004\.safetensors: cannot be read.*Delete"):
        tiny.train(run, resume=True)
    with pytest.raises(RunError, match="cannot be read"):
        checkpoint.load_weights(run)


def test_a_pickle_under_our_name_is_refused_and_not_run(tiny: ModuleType, run: Path) -> None:
    sign = run / "it ran"
    spoil(run, pickle.dumps(Bomb(sign)))
    with pytest.raises(RunError, match="cannot be read"):
        tiny.train(run, resume=True)
    torch.save({"weights/a": Bomb(sign)}, run / "checkpoints" / "pickled")
    spoil(run, (run / "checkpoints" / "pickled").read_bytes())
    with pytest.raises(RunError, match="cannot be read"):
        tiny.train(run, resume=True)
    assert not sign.exists()


def test_a_file_that_lost_a_byte_or_changed_one_is_refused(tiny: ModuleType, run: Path) -> None:
    path = run / "checkpoints" / "step_00000004.safetensors"
    whole = path.read_bytes()
    for data in (whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1])):
        path.write_bytes(data)
        with pytest.raises(RunError, match="is not what step_00000004"):
            tiny.train(run, resume=True)
    path.unlink()
    with pytest.raises(RunError, match="cannot be read"):
        tiny.train(run, resume=True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "[" * 100_000,
        '{"step": "four"}',
        '{"step": 4, "pools": "x"}',
        '{"step": 4, "format": 2}',
        '{"step": -4}',
        '{"step": 4, "__reduce__": ["os.system", "true"]}',
        "\x80\x04pickle",
    ],
)
def test_nonsense_in_place_of_the_numbers_is_refused(
    tiny: ModuleType, run: Path, text: str
) -> None:
    path = run / "checkpoints" / "step_00000004.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(RunError, match=r"step_00000004\.json"):
        tiny.train(run, resume=True)


@pytest.mark.parametrize(
    ("name", "tensor", "words"),
    [
        ("weights/generator.0.weight", torch.zeros(6, 3, 3), r"is torch.float32 \(6, 3, 3\), exp"),
        ("weights/generator.0.bias", torch.zeros(6, dtype=torch.int64), "is torch.int64"),
        ("weights/generator.0.bias", None, "weights/generator.0.bias is missing"),
        ("weights/generator.9.bias", torch.zeros(1), "weights/generator.9.bias is unknown"),
        ("average/generator.0.bias", None, "average/generator.0.bias is missing"),
        ("optimiser/critic/0/exp_avg", torch.zeros(2), "optimiser/critic/0/exp_avg is"),
        ("optimiser/critic/0/exp_avg_sq", None, "exp_avg_sq is missing"),
        ("optimiser/thief/0/step", torch.zeros(()), "optimiser/thief/0/step is unknown"),
        ("pool/0/1/0", torch.zeros(1, 5, 5), "pool/0/1/0 is"),
        ("pool/0/0/1", None, "pool/0/0/1 is missing"),
        ("pool/0/9/0", torch.zeros(1), "pool/0/9/0 is unknown"),
    ],
)
def test_tensors_of_another_game_are_refused_by_name(
    tiny: ModuleType, run: Path, name: str, tensor: torch.Tensor | None, words: str
) -> None:
    tensors, progress = checkpoint.load(run, "step", 4)
    tensors.pop(name, None)
    if tensor is not None:
        tensors[name] = tensor
    checkpoint.save(run, "step", tensors, progress)
    with pytest.raises(RunError, match=words):
        tiny.train(run, resume=True)


def test_pools_of_another_size_are_refused(tiny: ModuleType, run: Path) -> None:
    tensors, progress = checkpoint.load(run, "step", 4)
    for pools in ((), (4,), (-1,), (1, 1)):
        checkpoint.save(run, "step", tensors, progress.model_copy(update={"pools": pools}))
        with pytest.raises(RunError, match="image pools with"):
            tiny.train(run, resume=True)


def test_a_full_disk_is_an_error_that_leaves_the_last_state_and_no_litter(
    tiny: ModuleType, tmp_path: Path
) -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def filling(step: int) -> Any:
        if step == 6:  # files may not grow beyond 8 kB: less than a checkpoint, more than the log
            resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
        return tiny.batches(step)

    try:
        with pytest.raises(RunError, match=r"could not be written.*Free disk space"):
            tiny.train(tmp_path, batches=filling)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    names = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert checkpoint.steps(tmp_path)[-1] == 4
    assert not [name for name in names if "tmp" in name]
    tiny.train(tmp_path, resume=True)
    assert checkpoint.steps(tmp_path)[-1] == 23


def test_a_full_disk_in_the_log_is_an_error(tiny: ModuleType, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def filling(step: int) -> Any:
        if step == 6:
            resource.setrlimit(resource.RLIMIT_FSIZE, (512, hard))
        return tiny.batches(step)

    try:
        with pytest.raises(RunError, match=r"log\.jsonl: could not be written"):
            tiny.train(tmp_path, batches=filling)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    tiny.train(tmp_path, resume=True)
