"""Checkpoints: what training goes on from, and what synthesis makes scans with.

A checkpoint is two files: `step_00000500.safetensors` holds every tensor, `step_00000500.json`
every number. Each is written to a temporary file, synced and renamed; the JSON comes last and
makes the checkpoint exist, so that a process killed at any moment leaves the one before. It
carries the digest of the tensors. Nothing is pickled, so a stranger's file cannot run code.

Names of tensors: `weights/<state name>`, `average/<state name>` (running mean of the weights),
`optimiser/<player>/<parameter number>/<what>`, `pool/<group>/<slot>/<tensor>`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from scansmith.scan import RunError

FOLDER = "checkpoints"
FORMAT = 1
JSON_LIMIT = 64 * 2**20


class Best(BaseModel):
    """The best validation so far; lower is better."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str
    value: float
    step: int = Field(ge=0)


class Progress(BaseModel):
    """The numbers of a checkpoint.

    Attributes:
        seconds: time in training up to this step, over all sessions.
        running: for each logged value the decayed sum and the decayed count of its running mean.
        rates: what the learning rate of each player that has a `rate` was multiplied by.
        pools: samples in each image pool.
        bytes, sha256: of the file of tensors.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    step: int = Field(ge=0)
    seconds: float = Field(0.0, ge=0)
    running: dict[str, tuple[float, float]] = {}
    best: Best | None = None
    threads: int = Field(1, gt=0)
    rates: dict[str, float] = {}
    pools: tuple[int, ...] = ()
    bytes: int = 0
    sha256: str = ""


def write_atomic(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file, then put it in the place of `path`, all or nothing.

    Raises:
        RunError: the disk is full or the folder cannot be written; nothing is left behind.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except (OSError, SafetensorError) as error:
        raise RunError(
            f"{path}: could not be written ({error}). Free disk space or mend the folder's rights, "
            "then go on with resume; what was saved before is whole."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable, where the system allows it."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """JSON with an indent, atomically."""
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    write_atomic(path, lambda temporary: _write_text(temporary, text))


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        RunError: missing, huge, not JSON or not an object.
    """
    try:
        if path.stat().st_size > JSON_LIMIT:
            raise RunError(f"{path}: larger than {JSON_LIMIT} bytes. Use a file that we wrote.")
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror}). Check the path.") from error
    except (ValueError, RecursionError) as error:
        raise RunError(
            f"{path}: not valid JSON ({str(error)[:200]}). Restore the file, or start a new run."
        ) from error
    if not isinstance(content, dict):
        raise RunError(
            f"{path}: found a {type(content).__name__}, expected an object. Restore the file."
        )
    return content


def save(run: Path, kind: str, tensors: Mapping[str, Tensor], progress: Progress) -> None:
    """Write the checkpoint `kind` ("step" or "best") of `progress.step`.

    Raises:
        RunError: it cannot be written; earlier checkpoints stay.
    """
    path = run / FOLDER / f"{kind}_{progress.step:08d}.safetensors"
    plain = _separate(tensors)
    seen: dict[str, Any] = {}

    def write(temporary: Path) -> None:
        temporary.touch()
        mode = temporary.stat().st_mode
        save_file(plain, temporary)
        temporary.chmod(mode)  # safetensors makes files that only their owner can read
        seen["bytes"] = temporary.stat().st_size
        with open(temporary, "rb") as file:
            seen["sha256"] = hashlib.file_digest(file, "sha256").hexdigest()

    write_atomic(path, write)
    write_json(path.with_suffix(".json"), progress.model_copy(update=seen).model_dump(mode="json"))


def prune(run: Path, kind: str, keep: int) -> None:
    """Delete all but the newest `keep` checkpoints of a kind."""
    keep_only(run, kind, steps(run, kind)[-keep:])


def keep_only(run: Path, kind: str, wanted: Collection[int]) -> None:
    """Delete the checkpoints of a kind but those of the `wanted` steps."""
    for step in steps(run, kind):
        if step in wanted:
            continue
        path = run / FOLDER / f"{kind}_{step:08d}.json"
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
            path.with_suffix(".safetensors").unlink(missing_ok=True)


def sweep(run: Path) -> None:
    """Delete temporary files of processes that were killed, and tensors without their JSON."""
    for path in [*run.glob(".*.tmp"), *(run / FOLDER).glob(".*.tmp")]:
        with contextlib.suppress(OSError):
            path.unlink()
    for path in (run / FOLDER).glob("*.safetensors"):
        if not path.with_suffix(".json").exists():
            with contextlib.suppress(OSError):
                path.unlink()


def steps(run: Path, kind: str = "step") -> list[int]:
    """The steps of all checkpoints of a kind, oldest first."""
    folder = run / FOLDER
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    found = (re.fullmatch(rf"{kind}_(\d{{8,12}})\.json", name) for name in names)
    return sorted(int(match[1]) for match in found if match)


def load(run: Path, kind: str, step: int, prefix: str = "") -> tuple[dict[str, Tensor], Progress]:
    """The tensors (those whose name starts with `prefix`) and the numbers of a checkpoint.

    Raises:
        RunError: a file is missing, damaged, or not a checkpoint.
    """
    path = run / FOLDER / f"{kind}_{step:08d}.json"
    try:
        progress = Progress.model_validate(read_json(path))
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()[:5]
        )
        raise RunError(f"{path}: not a checkpoint ({faults}). {_remedy(path)}") from error
    if progress.step != step:
        raise RunError(f"{path}: found step {progress.step}, expected {step}. {_remedy(path)}")
    return _read_tensors(path.with_suffix(".safetensors"), progress, prefix), progress


def load_weights(
    run: Path, which: Literal["last", "best"] = "last", ema: bool = False
) -> dict[str, Tensor]:
    """A game's weights as a state dict, on the CPU.

    Args:
        ema: put the running means in the place of the generators' weights, where there are any.
    Raises:
        RunError: there is no such checkpoint, or it is damaged.
    """
    kind = "step" if which == "last" else "best"
    there = steps(run, kind)
    if not there:
        hint = "Train the run first." if kind == "step" else 'Validate in training, or use "last".'
        raise RunError(f"{run}: no {which} checkpoint, expected one in {FOLDER}/. {hint}")
    tensors, _ = load(run, kind, there[-1], "weights/")
    weights = {name.removeprefix("weights/"): tensor for name, tensor in tensors.items()}
    if ema:
        averages, _ = load(run, kind, there[-1], "average/")
        weights.update({name.removeprefix("average/"): t for name, t in averages.items()})
    return weights


def match(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], where: str) -> None:
    """Refuse tensors that are not exactly the wanted names, shapes and types.

    Raises:
        RunError: listing the first few that are missing, unknown or of another shape.
    """
    missing, unknown = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    faults = [f"{name} is missing" for name in missing] + [f"{name} is unknown" for name in unknown]
    for name in sorted(wanted.keys() & found.keys()):
        old, new = found[name], wanted[name]
        if old.shape != new.shape or old.dtype != new.dtype:
            faults.append(
                f"{name} is {old.dtype} {tuple(old.shape)}, expected {new.dtype} {tuple(new.shape)}"
            )
    if faults:
        more = f" and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise RunError(
            f"{where}: does not fit this method: {'; '.join(faults[:5])}{more}. "
            "Use the settings and the version that the run was trained with."
        )


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def _separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """On the CPU, contiguous, no two in the same memory, as the file format wants them."""
    seen: set[int] = set()
    plain: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        memory = tensor.untyped_storage().data_ptr()
        whole = tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
        plain[name] = tensor if whole and memory not in seen else tensor.clone()
        seen.add(memory)
    return plain


def _read_tensors(path: Path, progress: Progress, prefix: str) -> dict[str, Tensor]:
    try:
        with open(path, "rb") as file:
            size, digest = path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()
        if size != progress.bytes or digest != progress.sha256:
            raise RunError(
                f"{path}: its content ({size} bytes) is not what {path.stem}.json promises "
                f"({progress.bytes} bytes). {_remedy(path)}"
            )
        return dict(_tensors(path, prefix))
    except (OSError, SafetensorError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise RunError(f"{path}: cannot be read ({error}). {_remedy(path)}") from error


def _tensors(path: Path, prefix: str) -> Iterator[tuple[str, Tensor]]:
    with safe_open(path, framework="pt", device="cpu") as file:
        for name in file.keys():  # noqa: SIM118  (not a dict)
            if name.startswith(prefix):
                yield name, torch.clone(file.get_tensor(name))


def _remedy(path: Path) -> str:
    return f"Delete {path.stem}.json and {path.stem}.safetensors to go on from the one before."
