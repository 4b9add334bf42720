"""Layouts that a `dataset.json` describes: nnU-Net raw (v1, v2) and the Decathlon's (MSD)."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from scansmith.data.layouts_base import (
    Found,
    Gather,
    files_in,
    read_json,
    standard_modality,
    stem,
    table_of_names,
)
from scansmith.scan import CaseFiles, DataError, Problem

_HEAD = "dataset.json"


def find_nnunet(root: Path) -> Found | None:
    """nnU-Net raw: imagesTr/CASE_0000.nii.gz for each channel, labelsTr/CASE.nii.gz."""
    if not (root / _HEAD).is_file():
        return None
    head = read_json(root / _HEAD)
    channels = head.get("channel_names", head.get("modality"))
    is_v2 = "channel_names" in head
    if not is_v2 and not any(re.search(r"_\d{4}$", stem(p)) for p in files_in(root / "imagesTr")):
        return None
    names = _channels(channels)
    ending = str(head.get("file_ending", ".nii.gz"))
    gather = Gather()
    if isinstance(head.get("dataset"), dict):
        _listed_cases(root, head["dataset"], names, gather)
    else:
        _cases_in_folders(root, ending, names, gather)
    cases = _in_channel_order(gather.cases(), names)
    table = table_of_names(root / _HEAD, head.get("labels", {}))
    return Found(cases, table, tuple(names.values()), gather.problems)


def find_msd(root: Path) -> Found | None:
    """Medical Segmentation Decathlon: dataset.json lists image and label of each case."""
    if not (root / _HEAD).is_file():
        return None
    head = read_json(root / _HEAD)
    if not isinstance(head.get("training"), list):
        return None
    names = _channels(head.get("modality", {"0": "image"}))
    gather = Gather()
    for number, entry in enumerate(head["training"]):
        listed = entry if isinstance(entry, dict) else {"image": entry}
        image = _inside(root, listed.get("image"), f"training[{number}].image", gather.problems)
        label = None
        if "label" in listed:
            label = _inside(root, listed["label"], f"training[{number}].label", gather.problems)
        if image is None or ("label" in listed and label is None):
            continue
        for name in names.values():
            gather.image(stem(image), name, image)
        if label is not None:
            gather.label(stem(image), label)
    cases = _in_channel_order(gather.cases(), names)
    problems = list(dict.fromkeys(gather.problems))  # a 4D file claims its place once a channel
    table = table_of_names(root / _HEAD, head.get("labels", {}))
    return Found(cases, table, tuple(names.values()), problems)


def _channels(stated: Any) -> dict[int, str]:
    """Channel number -> modality; numbered names where two have one standard name."""
    if isinstance(stated, list):
        stated = dict(enumerate(stated))
    try:
        names = {int(number): standard_modality(str(name)) for number, name in stated.items()}
    except (AttributeError, ValueError) as error:
        found = f"channel names {stated!r:.80} are not of the form number: name"
        remedy = 'Write them like {"0": "CT"}'
        raise DataError(Problem(_HEAD, "json", found, remedy)) from error
    alike = list(names.values())
    return {n: m if alike.count(m) == 1 else f"{m}_{n}" for n, m in sorted(names.items())}


def _cases_in_folders(root: Path, ending: str, names: dict[int, str], gather: Gather) -> None:
    for path in files_in(root / "imagesTr", [ending]):
        match = re.fullmatch(r"(.+)_(\d{4})", path.name[: -len(ending)])
        if match is None:
            found = f"{path.name} does not end in a channel number, expected _0000{ending}"
            gather.problems.append(Problem(stem(path), "name", found, "Rename the file"))
        elif int(match[2]) not in names:
            found = f"channel {match[2]} is not among the {len(names)} of {_HEAD}"
            remedy = "Name it in channel_names or remove the file"
            gather.problems.append(Problem(match[1], "channels", found, remedy))
        else:
            gather.image(match[1], names[int(match[2])], path)
    for path in files_in(root / "labelsTr", [ending]):
        gather.label(path.name[: -len(ending)], path)


def _listed_cases(root: Path, listed: dict, names: dict[int, str], gather: Gather) -> None:
    """nnU-Net v2's optional list of cases: {"case": {"images": [...], "label": "..."}}."""
    for case, files in listed.items():
        files = files if isinstance(files, dict) else {}
        images = files.get("images", [])
        if len(images) != len(names):
            found = f"{len(images)} images are listed, expected {len(names)}, one a channel"
            gather.problems.append(Problem(case, "channels", found, f"Correct {_HEAD}"))
        for number, text in zip(names, images, strict=False):
            path = _inside(root, text, f"dataset.{case}.images", gather.problems)
            if path is not None:
                gather.image(case, names[number], path)
        if "label" in files:
            path = _inside(root, files["label"], f"dataset.{case}.label", gather.problems)
            if path is not None:
                gather.label(case, path)


def _inside(root: Path, text: Any, where: str, problems: list[Problem]) -> Path | None:
    """A path that a data set states, if it stays within the data set and exists.

    A data set is a stranger's: its list must not make us read (and then republish) other files.
    """
    where = f"{_HEAD} {where}"
    if not isinstance(text, str) or not text:
        found = f"holds {text!r:.60}, expected the path of a file"
        problems.append(Problem(where, "json", found, f"Correct {_HEAD}"))
        return None
    absolute = PurePosixPath(text).is_absolute() or PureWindowsPath(text).anchor
    leaves = ".." in PureWindowsPath(text).parts  # splits at both kinds of slash
    path = root / text
    if absolute or leaves or not path.resolve().is_relative_to(root.resolve()):
        why = "is absolute" if absolute else "leaves the data set"
        why = why if absolute or leaves else "leaves the data set through a symbolic link"
        remedy = "Copy the file into the data set and name it by a path relative to dataset.json"
        problems.append(Problem(where, "path", f"the path {text!r} {why}", remedy))
        return None
    if not path.is_file():
        found = f"the file {text!r} does not exist"
        problems.append(Problem(where, "missing", found, f"Add it or take it out of {_HEAD}"))
        return None
    return path


def _in_channel_order(cases: list[CaseFiles], names: dict[int, str]) -> list[CaseFiles]:
    return [
        CaseFiles(
            files.case,
            {name: files.images[name] for name in names.values() if name in files.images},
            files.labels,
            files.patient,
        )
        for files in cases
    ]
