"""What a recipe needs and a data set lacks: in its file names, in its table, in its labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from scansmith.data.draws import ANY, qualifying
from scansmith.data.intensity import Statistics, fit_codec
from scansmith.data.layouts import DataSet
from scansmith.data.prepare_case import Finding, Task
from scansmith.labels.table import is_context, standard_name
from scansmith.recipe import Recipe
from scansmith.scan import CaseFiles, Problem, SettingsError


def check_recipe(recipe: Recipe) -> None:
    """Refuse a recipe that no data set could serve. Raises SettingsError with all mistakes."""
    mistakes = []
    axes = "D, H, W"[-3 * recipe.dims + 2 :]
    if len(recipe.size) != recipe.dims or min(recipe.size, default=0) < 1:
        mistakes.append(
            f"data.size: found {recipe.size}, expected {axes} in pixels, each at least 1. "
            f"For example data.size={','.join(['64'] * recipe.dims)} in the data's settings."
        )
    if recipe.spacing_mm is not None and recipe.fit == "resize":
        mistakes.append(
            f"spacing: found {recipe.spacing_mm} mm together with resizing, which sets the spacing "
            "itself. Leave the spacing out, or crop."
        )
    elif recipe.spacing_mm is not None and (
        len(recipe.spacing_mm) != recipe.dims or min(recipe.spacing_mm) <= 0
    ):
        mistakes.append(
            f"spacing: found {recipe.spacing_mm}, expected {axes} in mm, each above 0. Correct it."
        )
    if recipe.intensity.kind == "window":
        try:
            fit_codec(recipe.intensity, Statistics(0))
        except SettingsError as error:
            mistakes.append(str(error))
    if mistakes:
        raise SettingsError("\n".join(mistakes))


def unmet(dataset: DataSet, recipe: Recipe) -> list[Problem]:
    """What a recipe needs and a data set does not have, told from file names and label table."""
    where, problems = str(dataset.root), []
    if not dataset.cases:
        problems.append(Problem(where, "empty", "no case was found", "Add images with labels"))
    elif not dataset.modalities:
        found = f"no images, only labels; {recipe.method} learns from both"
        problems.append(Problem(where, "channels", found, "Add the images"))
    elif not recipe.modalities and recipe.channels not in (None, len(dataset.modalities)):
        problems.append(
            Problem(
                where,
                "channels",
                f"{len(dataset.modalities)} modalities ({', '.join(dataset.modalities)}), "
                f"{recipe.method} takes {recipe.channels}",
                "Choose with data.modality=NAME in the data's settings",
            )
        )
    elif recipe.channels not in (None, len(recipe.modalities or dataset.modalities)):
        problems.append(
            Problem(
                where,
                "channels",
                f"{', '.join(recipe.modalities)} chosen, {recipe.method} takes {recipe.channels}",
                "Change data.modality=NAME in the data's settings",
            )
        )
    for structure in _structures_named(recipe):
        if standard_name(structure) not in dataset.table.structures:
            problems.append(
                Problem(
                    where,
                    "structure",
                    f"no structure {structure!r} among {', '.join(dataset.table.structures)}, "
                    f"{recipe.method} needs it",
                    "Name the label values in labels.json, or choose others in the settings",
                )
            )
    for files in dataset.cases:
        problems += _missing_files(files, recipe.modalities or dataset.modalities, recipe)
    return problems


def needs_labels(recipe: Recipe) -> bool:
    """Whether images without labels are of no use to a recipe."""
    return bool(_structures_named(recipe)) or any(d.has or d.lacks for d in recipe.draws)


def _structures_named(recipe: Recipe) -> list[str]:
    named = [*recipe.needs, *recipe.structures]
    for edits in (recipe.edits, *recipe.tasks.values()):
        named += [*edits.lesion, *edits.organ]
    for draw in recipe.draws:
        named += [*draw.has, *draw.lacks]
    return [name for name in dict.fromkeys(named) if name != ANY and not is_context(name)]


def _missing_files(files: CaseFiles, modalities: Sequence[str], recipe: Recipe) -> list[Problem]:
    missing = [name for name in modalities if name not in files.images]
    problems = []
    if missing:
        found = f"no image of {', '.join(missing)}, found {', '.join(files.images) or 'none'}"
        remedy = "Add it, choose other modalities, or take the case out"
        problems.append(Problem(files.case, "modality", found, remedy))
    if files.labels is None and needs_labels(recipe):
        found = f"no labels, {recipe.method} learns from them"
        problems.append(Problem(files.case, "labels", found, "Add them or take the case out"))
    return problems


def unserved(tasks: Sequence[Task], findings: Sequence[Finding]) -> list[Problem]:
    """Draws without a single training sample, and patients without any label that one could use."""
    recipe, kept = tasks[0].recipe, tasks[0].kept
    problems = []
    for draw in recipe.draws:
        served = False
        for task, finding in zip(tasks, findings, strict=True):
            if task.split == "train" and finding.counts is not None and finding.plain is not None:
                allowed = qualifying(draw, finding.counts, kept)
                allowed[finding.plain["left_out"]] = False
                served = served or bool(allowed.any())
        if not served:
            wanted = [*draw.has, *(f"no {name}" for name in draw.lacks)]
            found = f"no training sample shows {', '.join(wanted) or 'enough'}"
            found += f" ({draw.min_pixels} pixels at least)" if draw.has else ""
            remedy = "Add such cases"
            if recipe.split[0] < 1:  # else there is nobody from whom another seed could take some
                remedy += ", or another data.seed in the data's settings, which may give it some"
            problems.append(Problem(f"draw {draw.name}", "draw", found, remedy))
    if recipe.draws and all(draw.has for draw in recipe.draws):
        problems += _nothing_labelled(tasks, findings, recipe)
    return problems


def _nothing_labelled(
    tasks: Sequence[Task], findings: Sequence[Finding], recipe: Recipe
) -> list[Problem]:
    labelled = {
        task.files.patient
        for task, finding in zip(tasks, findings, strict=True)
        if finding.plain is not None and finding.plain["labelled"]
    }
    wanted = ", ".join(tasks[0].kept.structures[1:])
    found = f"nothing is labelled in the case, {recipe.method} needs {wanted}"
    remedy = "Correct its labels or take the case out"
    return [
        Problem(task.files.case, "empty", found, remedy)
        for task in tasks
        if task.files.patient not in labelled
    ]


def same_images(digests: Iterable[tuple[str, str]]) -> list[Problem]:
    """Copies under two names: they would sit on both sides of a split.

    Args:
        digests: name of a case, and `digest_of` its image; "" for one without.
    """
    first: dict[str, str] = {}
    problems = []
    for case, digest in digests:
        known = first.setdefault(digest, case)
        if digest and known != case:
            found = f"duplicate case: its image is the same as that of {known}, voxel for voxel"
            problems.append(Problem(case, "duplicate", found, "Take one of them out"))
    return problems
