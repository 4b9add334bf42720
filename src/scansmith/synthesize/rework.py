"""A scan of a user's own through a trained run: healed, or drawn in another modality."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.ndimage import affine_transform
from torch import Tensor

from scansmith.data.intensity import fit_codecs, measure
from scansmith.data.layouts_base import standard_modality
from scansmith.data.prepare_case import Task, alone, to_grid
from scansmith.data.resample import from_standard
from scansmith.io import read_scan, write_scan
from scansmith.io.atomic import write_bytes
from scansmith.io.scans import suffix_of
from scansmith.labels.table import LabelTable
from scansmith.methods.base import Method
from scansmith.recipe import Codec
from scansmith.scan import CaseFiles, DataError, RunError, Scan, SettingsError
from scansmith.synthesize.provenance import mark
from scansmith.train.loop import choose_device
from scansmith.train.pictures import save_grid
from scansmith.workflow import load_run, versions

CHUNK = 8  # samples at a time
_SHOWN = 4  # slices of the preview


@dataclass(frozen=True)
class Fitted:
    """A scan on the grid and in the intensities of a run.

    Attributes:
        network: float32 (N, C, *S).
        affine: (4, 4), index (W, H, D) of the grid to millimetres, RAS+.
        axis_codes: orientation of the scan's file.
        codecs: one for each of the C modalities.
    """

    network: np.ndarray
    affine: np.ndarray
    axis_codes: str
    codecs: tuple[Codec, ...]


def heal(
    run: Path | str,
    scan: Path | str | Mapping[str, Path | str],
    out: Path | str,
    *,
    labels: Path | str | None = None,
    device: str = "auto",
) -> Path:
    """A scan as it might look without its lesions; no mask of them is needed.

    Writes, on the scan's own grid, CASE_healed.nii.gz and CASE_change.nii.gz (healed - scan) for
    each modality, heal.json, and preview.png. The change is made at the run's resolution and added
    to the scan, so that detail elsewhere stays as it was; where the scan holds whole numbers, it is
    rounded and limited as they are.

    Args:
        run: a run of a method that heals: ant-gan.
        scan: path of the image; for runs of several modalities, modality -> path.
        out: a new or empty folder.
        labels: a map that is not 0 in the organ. Runs that learned from scans cut to an organ need
            it, others do not look at it.
    Returns:
        `out`.
    Raises:
        SettingsError, DataError, RunError: with all that is to be mended.
    """
    method = load_run(run, device=str(choose_device(device))).method
    found = _read(scan, method.facts.modalities, labels)
    fitted = fit_to(method, found)
    healed = _through(method, fitted, method.heal)
    change = _on_grid_of(found, fitted, healed, less=True)
    result = replace(found, image=_as_type(found.image + change, found.image.dtype))
    written = np.subtract(result.image, found.image, dtype=np.float64).astype(np.float32)
    folder = _claimed(Path(out))
    files = {"healed": result, "change": replace(found, image=written)}
    _write(folder, files, method, {"task": "heal", "run": Path(run).resolve().name})
    _preview(folder, fitted.network, healed)
    return folder


def translate(
    run: Path | str,
    scan: Path | str,
    to: str,
    out: Path | str,
    *,
    modality: str | None = None,
    device: str = "auto",
) -> Path:
    """Another modality drawn from a scan of one.

    Writes CASE_TO.nii.gz on the scan's grid, translate.json and preview.png. Values are in the
    units that the run's training scans had in the target modality.

    Args:
        run: a run of a method that translates: registered-multimodal.
        to: modality to draw, one of the run's.
        modality: of the scan; None: as its file name ends, for example case_flair.nii.gz.
        out: a new or empty folder.
    Raises:
        SettingsError, DataError, RunError: with all that is to be mended.
    """
    method = load_run(run, device=str(choose_device(device))).method
    path = Path(scan)
    source = _modality(method, modality or _told_by(path), f"{path.name}: modality")
    target = _modality(method, to, "--to")
    found = _read({method.facts.modalities[source]: path}, (method.facts.modalities[source],))
    fitted = fit_to(method, found, source)
    drawn = _through(method, fitted, lambda image: method.translate(image, source, target))
    made = replace(
        fitted,
        network=drawn,
        codecs=(method.facts.codecs[target],),
    )
    image = _on_grid_of(found, made, drawn)
    name = method.facts.modalities[target]
    result = replace(found, image=image.astype(np.float32), modalities=(name,))
    folder = _claimed(Path(out))
    record = {"task": "translate", "from": method.facts.modalities[source], "to": name}
    _write(folder, {name: result}, method, record | {"run": Path(run).resolve().name})
    _preview(folder, fitted.network[:, source : source + 1], drawn)
    return folder


def fit_to(method: Method, scan: Scan, modality: int | None = None) -> Fitted:
    """A scan on a run's grid, in its intensities.

    Args:
        modality: index of the scan's only modality among the run's; None: it has them all. The
            others are filled with the lowest network value, and must not be looked at.
    Raises:
        DataError: nothing of the scan is left on the grid, it is constant, or the run learned from
            scans cut to an organ and it is not told where that is.
    """
    facts = method.facts
    recipe = type(method).recipe(method.settings).model_copy(update={"regions": None})
    files, table = CaseFiles(scan.case, {}), LabelTable({1: "organ"})
    scan = _with_organ(scan, recipe.around) if recipe.around else replace(scan, labels=None)
    recipe = recipe.model_copy(update={"around": ("organ",) if recipe.around else ()})
    task = Task(files, "", scan.modalities, recipe, table, table, None, "")
    prepared = to_grid(scan, task)
    if not len(prepared.image):
        raise DataError(
            f"{scan.case}: no slice has enough in it (data share {recipe.min_foreground:g}). Give "
            "a scan of the body part that the run was trained on."
        )
    chosen = range(len(facts.modalities)) if modality is None else [modality]
    codecs = tuple(facts.codecs[c] for c in chosen)
    if alone(recipe):
        statistics = [measure(image, recipe.intensity) for image in prepared.image.swapaxes(0, 1)]
        codecs = fit_codecs(recipe.intensity, statistics, scan.case)
    shape = (len(prepared.image), len(facts.modalities), *prepared.image.shape[2:])
    network = np.full(shape, codecs[0].encode(prepared.image).min(), dtype=np.float32)
    for place, (c, codec) in enumerate(zip(chosen, codecs, strict=True)):
        network[:, c] = codec.encode(prepared.image[:, place])
    return Fitted(network, prepared.affine, prepared.axis_codes, codecs)


def _through(method: Method, fitted: Fitted, work: Callable[[Tensor], Tensor]) -> np.ndarray:
    """All samples through a method's `work`, some at a time: (N, C or 1, *S), network range."""
    device = next((p.device for p in method.parameters()), torch.device("cpu"))
    made = []
    with torch.inference_mode():
        for start in range(0, len(fitted.network), CHUNK):
            image = torch.from_numpy(fitted.network[start : start + CHUNK]).to(device)
            made.append(work(image).float().cpu().numpy())
    return np.concatenate(made)


def _on_grid_of(scan: Scan, fitted: Fitted, made: np.ndarray, less: bool = False) -> np.ndarray:
    """What was made, in raw units, on the scan's own grid: (C, i, j, k), float32.

    Args:
        less: give the difference from what went in, 0 outside the run's grid; else what lies
            outside has the lowest value made.
    """
    moved = []
    for c, codec in enumerate(fitted.codecs):
        raw = codec.decode(made[:, c])
        if less:
            raw = raw - codec.decode(fitted.network[:, c])
        volume = raw if raw.ndim == 3 else raw[0]
        turned, affine = from_standard(volume, fitted.affine, fitted.axis_codes)
        back = np.linalg.inv(affine) @ scan.affine
        outside = 0.0 if less else float(raw.min())
        moved.append(
            affine_transform(
                turned,
                back[:3, :3],
                back[:3, 3],
                output_shape=scan.image.shape[1:],
                order=1,
                mode="grid-constant",
                cval=outside,
            )
        )
    return np.stack(moved).astype(np.float32)


def _with_organ(scan: Scan, around: tuple[str, ...]) -> Scan:
    """A scan with what is labelled in it as one structure. Raises DataError if nothing is."""
    if scan.labels is None or not scan.labels.any():
        raise DataError(
            f"{scan.case}: the run learned from scans cut to {' and '.join(around)}, and nothing "
            "tells where that is. Give a label map that is not 0 there (--labels FILE)."
        )
    return replace(scan, labels=(scan.labels != 0).astype(np.uint8))


def _as_type(image: np.ndarray, kind: np.dtype[Any]) -> np.ndarray:
    """Values in a file's own type: rounded and limited where it holds whole numbers."""
    if kind.kind not in "iu":
        return image.astype(kind)
    limits = np.iinfo(kind)
    return np.clip(np.rint(image), limits.min, limits.max).astype(kind)


def _read(
    scan: Path | str | Mapping[str, Path | str],
    modalities: tuple[str, ...],
    labels: Path | str | None = None,
) -> Scan:
    """A scan with the modalities of a run, in their order."""
    if not isinstance(scan, Mapping):
        if len(modalities) != 1:
            raise DataError(
                f"{scan}: one image, the run takes {', '.join(modalities)}. Give one of each as "
                "MODALITY=PATH."
            )
        scan = {modalities[0]: scan}
    paths = {standard_modality(name): Path(path) for name, path in scan.items()}
    missing = [name for name in modalities if name not in paths]
    if missing:
        raise DataError(
            f"images of {', '.join(paths)}, but none of {', '.join(missing)}. Give one of each as "
            "MODALITY=PATH."
        )
    first = paths[modalities[0]]
    case = first.name[: len(first.name) - len(suffix_of(first))] or first.name
    images = {name: paths[name] for name in modalities}
    return read_scan(CaseFiles(case, images, Path(labels) if labels else None))


def _told_by(path: Path) -> str:
    name = path.name[: len(path.name) - len(suffix_of(path))]
    return name.replace("-", "_").rpartition("_")[2]


def _modality(method: Method, name: str, where: str) -> int:
    """Index of a modality in the run. Raises SettingsError."""
    modalities = method.facts.modalities
    if standard_modality(name) not in modalities:
        raise SettingsError(
            f"{where}: found {name!r}, expected one of {', '.join(modalities)}. Name one of them."
        )
    return modalities.index(standard_modality(name))


def _claimed(folder: Path) -> Path:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunError(f"{folder}: not an empty folder. Choose another --out.")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _write(
    folder: Path, files: Mapping[str, Scan], method: Method, record: Mapping[str, Any]
) -> None:
    """The images, and beside them what they are; the record comes last."""
    notes = {"description": mark(method.name)}
    written = []
    for what, scan in files.items():
        for c, modality in enumerate(scan.modalities):
            several = "" if len(scan.modalities) == 1 else f"_{modality}"
            path = folder / f"{scan.case}_{what}{several}.nii.gz"
            single = replace(
                scan, image=scan.image[c : c + 1], modalities=(modality,), labels=None, notes=notes
            )
            written += write_scan(single, path)
    said = {"Synthetic": True, "IntendedUse": "research, not a medical device"} | dict(record)
    said |= {"method": method.name, "files": [path.name for path in written]}
    said["versions"] = versions()
    text = json.dumps(said, indent=2, sort_keys=True) + "\n"
    write_bytes(folder / f"{record['task']}.json", text.encode())


def _preview(folder: Path, before: np.ndarray, after: np.ndarray) -> None:
    """The samples that changed most: before, after, difference of the first modality."""
    change = after[:, :1] - before[:, :1]
    size = np.abs(change).reshape(len(change), -1).mean(axis=1)
    most = np.sort(np.argsort(size)[::-1][:_SHOWN])
    panels = {"before": before[most, :1], "after": after[most, :1], "change": change[most]}
    tensors = {title: torch.from_numpy(image.copy()) for title, image in panels.items()}
    save_grid(tensors, folder / "preview.png")
