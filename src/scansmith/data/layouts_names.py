"""Layouts that file and folder names alone describe: BraTS, LiTS, MM-WHS, PNG slices, pairs."""

from __future__ import annotations

import re
from pathlib import Path

from scansmith.data.layouts_base import (
    MODALITIES,
    NIFTI,
    Found,
    Gather,
    files_in,
    folders_in,
    levels,
    patient_of_slice,
    read_json,
    standard_modality,
    stem,
)
from scansmith.labels.table import KNOWN, LabelTable
from scansmith.scan import CaseFiles

_IMAGE_WORDS = ("image", "images", "img", "imgs", "volume", "vol", "orig", "imagestr")
_LABEL_WORDS = (
    "seg", "label", "labels", "mask", "masks", "segmentation", "segmentations", "gt", "dseg",
    "labelmap", "labelstr",
)  # fmt: skip
# Beside the modalities, BraTS-like sets carry masks of the brain, which are no labels to learn.
_NO_MODALITY = ("brainmask", "brain_mask", "brain-mask", "mask")


def find_brats(root: Path) -> Found | None:
    """BraTS: CASE/CASE_t1.nii.gz ... CASE/CASE_seg.nii.gz, or all in one folder."""
    for level in levels(root):
        gather = Gather()
        named = [_brats_file(path) for folder in level for path in files_in(folder)]
        if named and all(named):
            for file in named:
                if file is not None:
                    _add_brats_file(gather, *file)
            cases = gather.cases()
            return Found(cases, _brats_coding(cases), problems=gather.problems)
        if named:
            return None
    return None


def _brats_file(path: Path) -> tuple[str, str, Path] | None:
    """(case, what, path) if a file is named as BraTS does."""
    name, folder = stem(path), path.parent.name
    if re.match(re.escape(folder) + r"[_-].", name):
        return folder, name[len(folder) + 1 :].lower(), path
    head, _, tail = name.replace("-", "_").rpartition("_")
    if head and (tail.lower() in MODALITIES or tail.lower() == "seg"):
        return name[: len(head)], tail.lower(), path
    return None


def _add_brats_file(gather: Gather, case: str, what: str, path: Path) -> None:
    if what in ("seg", "label", "labels"):
        gather.label(case, path)
    elif what not in _NO_MODALITY:
        gather.image(case, standard_modality(what), path)


def _brats_coding(cases: list[CaseFiles]) -> LabelTable | None:
    names = [files.case for files in cases]
    if all(re.match(r"brats_(2013|tcia)", name) for name in names):
        return KNOWN["brats15"]
    if all(re.match(r"BraTS-", name) for name in names):
        return KNOWN["brats23"]
    return KNOWN["brats"] if all(re.match(r"BraTS\d\d_", n, re.I) for n in names) else None


def find_lits(root: Path) -> Found | None:
    """LiTS: volume-N.nii and segmentation-N.nii, together or in folders of their own."""
    gather = Gather()
    for level in levels(root):
        for path in (path for folder in level for path in files_in(folder)):
            match = re.fullmatch(r"(volume|segmentation)-(\d+)", stem(path))
            if match and match[1] == "volume":
                gather.image(f"volume-{match[2]}", "ct", path)
            elif match:
                gather.label(f"volume-{match[2]}", path)
    return Found(gather.cases(), KNOWN["lits"], problems=gather.problems) if gather.images else None


def find_mmwhs(root: Path) -> Found | None:
    """MM-WHS: ct_train_1001_image.nii.gz and ct_train_1001_label.nii.gz, codes 205 to 850."""
    for level in levels(root, deepest=1):
        gather = Gather()
        for path in (path for folder in level for path in files_in(folder)):
            match = re.fullmatch(r"((ct|mr)_train_.+)_(image|label)", stem(path))
            if match and match[3] == "image":
                gather.image(match[1], match[2], path)
            elif match:
                gather.label(match[1], path)
        if gather.images:
            return Found(gather.cases(), KNOWN["mmwhs"], problems=gather.problems)
    return None


def find_slices(root: Path) -> Found | None:
    """2D pictures: images/PATIENT_SLICE.png and labels/PATIENT_SLICE.png."""
    gather, modality = Gather(), "image"
    if (root / "description.json").is_file():
        stated = read_json(root / "description.json").get("modalities")
        modality = str(stated[0]) if isinstance(stated, list) and len(stated) == 1 else modality
    for path in _in_folders(root, _IMAGE_WORDS, [".png"]):
        gather.image(stem(path), modality, path)
    for path in _in_folders(root, _LABEL_WORDS, [".png"]):
        gather.label(stem(path), path)
    for case in gather.images:
        gather.patients[case] = patient_of_slice(case)
    return Found(gather.cases(), problems=gather.problems) if gather.images else None


def find_pairs(root: Path) -> Found | None:
    """NIfTI image/label pairs: two folders, one folder with endings, or a folder for each case."""
    for gather in (_two_folders(root), _one_folder(root), _folder_a_case(root)):
        if gather.images or gather.labels:
            return Found(gather.cases(), problems=gather.problems)
    return None


def _two_folders(root: Path) -> Gather:
    """images/CASE.nii.gz (or CASE_0000.nii.gz) and labels/CASE.nii.gz."""
    gather = Gather()
    labels = _in_folders(root, _LABEL_WORDS, NIFTI)
    named = {stem(path) for path in labels}
    for path in _in_folders(root, _IMAGE_WORDS, NIFTI):
        name = stem(path)
        numbered = re.fullmatch(r"(.+)_0*(\d+)", name)
        if name not in named and numbered and numbered[1] in named:
            number = int(numbered[2])
            gather.image(numbered[1], f"image_{number}" if number else "image", path)
        else:
            gather.image(_without(name, _IMAGE_WORDS), "image", path)
    if gather.images:
        for path in labels:
            exact = stem(path) in gather.images
            gather.label(stem(path) if exact else _without(stem(path), _LABEL_WORDS), path)
    return gather


def _one_folder(root: Path) -> Gather:
    """CASE_image.nii.gz or CASE.nii.gz or CASE_t1.nii.gz, and CASE_seg.nii.gz."""
    gather = Gather()
    for path in files_in(root):
        _add_by_ending(gather, stem(path), path)
    return gather


def _folder_a_case(root: Path) -> Gather:
    """CASE/image.nii.gz and CASE/label.nii.gz."""
    gather = Gather()
    for folder in folders_in(root):
        for path in files_in(folder):
            word = stem(path).lower()
            if word in _LABEL_WORDS:
                gather.label(folder.name, path)
            elif word in _IMAGE_WORDS or word in MODALITIES:
                modality = "image" if word in _IMAGE_WORDS else standard_modality(word)
                gather.image(folder.name, modality, path)
    return gather


def _add_by_ending(gather: Gather, name: str, path: Path) -> None:
    head, _, tail = name.replace("-", "_").rpartition("_")
    case, word = name[: len(head)], tail.lower()
    if head and word in _LABEL_WORDS:
        gather.label(case, path)
    elif head and (word in _IMAGE_WORDS or word in MODALITIES):
        gather.image(case, "image" if word in _IMAGE_WORDS else standard_modality(word), path)
    else:
        gather.image(name, "image", path)


def _without(name: str, words: tuple[str, ...]) -> str:
    head, _, tail = name.replace("-", "_").rpartition("_")
    return name[: len(head)] if head and tail.lower() in words else name


def _in_folders(root: Path, words: tuple[str, ...], endings: tuple[str, ...] | list) -> list[Path]:
    folders = [folder for folder in folders_in(root) if folder.name.lower() in words]
    return [path for folder in folders for path in files_in(folder, endings)]
