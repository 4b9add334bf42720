"""Analyses of what healed slices are good for: ANT-GAN's Tables V, VI and VII as studies.

With more than one fold the runs that a study trained tell the settings, and each fold trains an
ANT-GAN of its own without its test patients; with one fold they serve as they are.
"""

from __future__ import annotations

from scansmith.settings import Section, number
from scansmith.studies import healed_channel, lesion_classification
from scansmith.studies.analysis_kinds import Job, Told
from scansmith.studies.healed_folds import CrossValidation
from scansmith.studies.lesion_classification_report import as_markdown

KEPT = "cross-validation"
"""Folder of what is finished, in the study's."""
SHARED = "one ANT-GAN in all folds, which knows test patients: the paper taken literally; it leaks"


class ChannelOptions(Section):
    """Table V: segmenters that see the healed slice too."""

    folds: int = number(5, "by patient; 1: the store's own split", "paper", ge=1)
    shared_gan: bool = number(False, SHARED)
    segmenters: healed_channel.Asked = healed_channel.Asked()


class ClassificationOptions(Section):
    """Tables VI and VII: classifiers of slices."""

    folds: int = number(5, "by patient; 1: the store's own split", "paper", ge=1)
    shared_gan: bool = number(False, SHARED)
    questions: tuple[str, ...] = number(
        lesion_classification.QUESTIONS, "channel: Table VI; fakes: Table VII"
    )
    classifiers: lesion_classification.Asked = lesion_classification.Asked()


def channel(job: Job) -> Told:
    """Dice of segmenters with and without a channel of the healed slice."""
    found = healed_channel.study(
        job.runs,
        job.out / KEPT,
        cross_validation=_folds(job),
        asked=job.options.segmenters,
        store=job.store.path,
    )
    rows = {arm: told["dice"] for arm, told in found["arms"].items()}
    return Told(found, healed_channel.as_markdown(found), rows)


def classification(job: Job) -> Told:
    """Precision and recall of classifiers with a channel of the healed slice, and with fakes."""
    found = lesion_classification.study(
        job.runs,
        job.out / KEPT,
        cross_validation=_folds(job),
        asked=job.options.classifiers,
        store=job.store.path,
        questions=job.options.questions,
    )
    rows = {
        f"{arm} ({question})": told
        for question in job.options.questions
        for arm, told in found[question]["arms"].items()
    }
    return Told(found, as_markdown(found), rows)


def _folds(job: Job) -> CrossValidation:
    seeds = tuple(range(min(len(runs) for runs in job.runs.values())))
    options = job.options
    return CrossValidation(folds=options.folds, shared_gan=options.shared_gan, seeds=seeds)
