"""Analyses of what healed slices are good for: ANT-GAN's Tables V, VI and VII as studies.

With more than one fold the runs that a study trained tell the settings, and each fold trains an
ANT-GAN of its own without its test patients; with one fold they serve as they are. Seeds keep their
numbers where one failed, so that it can be done later beside what is finished.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import model_validator

from scansmith.scan import RunError
from scansmith.settings import Section, number
from scansmith.studies import healed_channel, lesion_classification
from scansmith.studies.analysis_kinds import Job, Told
from scansmith.studies.healed_folds import CrossValidation
from scansmith.studies.lesion_classification_report import as_markdown

KEPT = "cross-validation"
"""Folder of what is finished, in the study's."""
SHARED = "one ANT-GAN in all folds, which knows test patients: the paper taken literally; it leaks"


class FoldOptions(Section):
    """Who is tested on, and by whose ANT-GAN."""

    folds: int = number(5, "by patient; 1: the store's own split", "paper", ge=1)
    shared_gan: bool = number(False, SHARED)

    @model_validator(mode="after")
    def _check(self) -> FoldOptions:
        self.cross_validation((0,))
        return self

    def cross_validation(self, seeds: tuple[int, ...]) -> CrossValidation:
        """Raises SettingsError: one fold, whose ANT-GAN is shared."""
        return CrossValidation(folds=self.folds, shared_gan=self.shared_gan, seeds=seeds)


class ChannelOptions(FoldOptions):
    """Table V: segmenters that see the healed slice too."""

    segmenters: healed_channel.Asked = healed_channel.Asked()


class ClassificationOptions(FoldOptions):
    """Tables VI and VII: classifiers of slices."""

    questions: tuple[lesion_classification.Question, ...] = number(
        lesion_classification.QUESTIONS, "channel: Table VI; fakes: Table VII", min_length=1
    )
    classifiers: lesion_classification.Asked = lesion_classification.Asked()


def channel(job: Job) -> Told:
    """Dice of segmenters with and without a channel of the healed slice."""
    runs, seeds = _in_common(job)
    found = healed_channel.study(
        runs,
        job.out / KEPT,
        cross_validation=job.options.cross_validation(seeds),
        asked=job.options.segmenters,
        store=job.store.path,
    )
    rows = {arm: told["dice"] for arm, told in found["arms"].items()}
    return Told(found, healed_channel.as_markdown(found), rows, problems=_left_out(job, seeds))


def classification(job: Job) -> Told:
    """Precision and recall of classifiers with a channel of the healed slice, and with fakes."""
    runs, seeds = _in_common(job)
    found = lesion_classification.study(
        runs,
        job.out / KEPT,
        cross_validation=job.options.cross_validation(seeds),
        asked=job.options.classifiers,
        store=job.store.path,
        questions=job.options.questions,
    )
    rows = {
        f"{arm} ({question})": told
        for question in job.options.questions
        for arm, told in found[question]["arms"].items()
    }
    return Told(found, as_markdown(found), rows, problems=_left_out(job, seeds))


def _in_common(job: Job) -> tuple[dict[str, list[Path]], tuple[int, ...]]:
    """The seeds under which every generator was trained, and each one's runs in their order.

    Raises:
        RunError: there is no such seed.
    """
    runs = job.by_seed
    first, *others = runs.values()
    seeds = tuple(seed for seed in first if all(seed in other for other in others))
    if not seeds:
        there = "; ".join(f"{name} {_listed(found)}" for name, found in runs.items())
        raise RunError(
            f"generators: found trainings under the seeds {there}, expected one seed that all of "
            "them have. Give the command again, which trains what failed, or ask for more seeds."
        )
    return {name: [found[seed] for seed in seeds] for name, found in runs.items()}, seeds


def _left_out(job: Job, seeds: tuple[int, ...]) -> tuple[str, ...]:
    """A line about seeds that only some generators have; why they failed is told elsewhere."""
    others = {seed for found in job.by_seed.values() for seed in found} - {*seeds}
    if not others:
        return ()
    return (
        f"seeds {_listed(sorted(others))}: left out of the tables, which compare all generators "
        "under the same seeds. The same command goes on with them.",
    )


def _listed(seeds: Iterable[int]) -> str:
    return ", ".join(map(str, seeds))
