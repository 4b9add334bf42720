"""What a study is, as a file: the data it needs, what is trained on them, and what is compared.

A comparison of segmenters has `arms`:

    title: Do synthetic volumes make a hippocampus segmenter better?
    data: {method: mm-gan, sets: {data.edits: deform}, needs: "MR volumes with labels"}
    generators:
      gan: {method: mm-gan, sets: {train.steps: 1000}}
    arms:
      real: {}
      synthetic: {real: 0, synthetic: 1, by: gan}
      real + synthetic 1:1: {synthetic: 1, by: gan}

An analysis looks at the generators themselves (see `analyses`):

    title: Does the shortcut keep what is healthy?
    data: {method: ant-gan}
    analysis: healing
    generators:
      CycleGAN: {method: ant-gan, sets: {method.shortcut: none}}
      with shortcut: {method: ant-gan, sets: {method.shortcut: add}}

Studies that come with the project are in `studies/papers`, named PAPER/ITEM.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, model_validator

from scansmith.data.draws import ANY
from scansmith.evaluate.segmentation import SegmenterNumbers
from scansmith.labels.table import is_context
from scansmith.scan import SettingsError
from scansmith.settings import Augmentation, Section, number, read_model, read_yaml
from scansmith.studies.cells import file_name
from scansmith.studies.mix import Plan

PAPERS = Path(__file__).parent / "papers"
COPIES, MEANS, SAMPLING = "copy-paste", "class-means", "label-sampling"
BASELINES = (COPIES, MEANS, SAMPLING)
"""What makes synthetic samples without being trained: lesions of other patients pasted in, each
structure's mean with noise, and SynthSeg-style contrasts (extra `bench`)."""

LABEL_MSE, LABEL_DICE = LABEL_VALUES = "label MSE", "label Dice"
"""Measures of label values, which registered multimodal's tables have."""

_MANY = 10_000  # samples of which shares are counted out
AS_LONG = 0.95
"""An arm trained as long as another if it took this share of its steps or more."""


class DataPart(Section):
    """The samples: a method's preprocessing, which the generators and the segmenters share."""

    method: str = number("magan", "whose preprocessing the samples have")
    preset: str = number("cpu", "its preset")
    sets: dict[str, Any] = Field(default_factory=dict, description="its data settings by name")
    needs: str = number("", "what data it takes, in words")


class Generator(Section):
    """A method that is trained on the study's training patients.

    With data settings (data.*) among its own it has samples of its own; the split is the same.
    """

    method: str = number("magan", "which")
    preset: str = number("cpu", "its preset")
    sets: dict[str, Any] = Field(default_factory=dict, description="its settings by name")


class OnDisk(Section):
    """A synthetic data set that was made before, by this program or another."""

    path: Path = number(
        ...,
        "its folder; a relative path starts where the command is given, not at the study's file",
    )
    learned: tuple[str, ...] = number(
        (),
        "patients of the data that its generator learned from, where provenance.jsonl does not "
        "tell; [nobody]: from none of them",
    )
    runs: tuple[Path, ...] = number(
        (), "runs that made it, if they learned from another store; as `path`"
    )


class Arm(Plan):
    """What one segmenter learns from: amounts and order as in `Plan`."""

    by: str = number("", "whose synthetic samples: a generator's, a set's or a baseline's")
    augment: bool = number(True, "classical augmentation of all that is drawn")
    showing: tuple[str, ...] = number(
        (), "real samples that show one of these structures alone; empty: all"
    )
    times: float = number(
        1.0,
        "multiple of the steps; a control may have to train as long as what it stands beside",
        gt=0,
    )

    @property
    def plan(self) -> Plan:
        """The amounts and the order alone."""
        return Plan(**{name: getattr(self, name) for name in Plan.model_fields})


class Segmenters(Section):
    """The segmenters and their training, the same in every arm."""

    steps: int = number(1000, "training steps of the arm that is the reference", gt=0)
    batch: int = number(2, "samples in a step", gt=0)
    hold: Literal["real", "iterations"] = number(
        "real",
        "what is the same in every arm; real: how often each real sample is seen (where all are in "
        "use), so that arms with synthetic samples besides take more steps; iterations: the steps, "
        "as in the papers",
    )
    lesion_share: float = number(
        0.0,
        "least share of each step's samples that show a structure of the study's `lesion`, as far "
        "as their source has such: lesions are rare, and who learns from all slices alike may "
        "never call one",
        "nnU-Net: a third",
        ge=0,
        le=1,
    )
    each_modality: bool = number(
        False,
        "a segmenter for each modality, their Dice averaged, instead of one that sees all",
        "registered multimodal, 2.6",
    )
    numbers: SegmenterNumbers = SegmenterNumbers()
    augmentation: Augmentation = Augmentation()


class Published(Section):
    """What a paper's table says of this study."""

    data: str = number("", "the paper's data")
    measure: str = number("", "what its numbers are")
    arms: dict[str, dict[str, float]] = Field(
        default_factory=dict, description="arm -> structure or measure -> value"
    )
    sd: dict[str, dict[str, float]] = Field(
        default_factory=dict, description="the same of the paper's spread over cases"
    )


class Study(Section):
    """What every study has."""

    title: str = number("", "the question, in one line")
    item: str = number("", "the paper's tables or figures, if it is one")
    about: str = number("", "what is compared, and what differs from the paper")
    data: DataPart = DataPart()
    generators: dict[str, Generator] = Field(default_factory=dict, description="name -> training")


class Spec(Study):
    """A study in which segmenters are compared."""

    sets: dict[str, OnDisk] = Field(default_factory=dict, description="name -> set on disk")
    arms: dict[str, Arm] = Field(default_factory=dict, description="name -> what is learned from")
    reference: str = number("real", "the arm that others are compared with")
    classical: str = number("", "the arm of classical augmentation; empty: the reference")
    decided_by: tuple[str, ...] = number(
        (), "structures whose mean Dice decides; empty: all of them, however easy"
    )
    lesion: tuple[str, ...] = number(
        (),
        "structures that copy-paste copies and segmenters.lesion_share draws more often; *: every "
        "one that is labelled, but for `organ`",
    )
    organ: tuple[str, ...] = number((), "copy-paste: structures that these lie in")
    segmenters: Segmenters = Segmenters()
    published: Published = Published()

    @model_validator(mode="after")
    def _check(self) -> Spec:
        known = (*self.generators, *self.sets, *BASELINES)
        wrong = [
            f"arms.{name}.by: found {arm.by!r}, expected one of {', '.join(known)}"
            for name, arm in self.arms.items()
            if (arm.by not in known if arm.synthetic else arm.by)
        ]
        twice = [name for name in {*known} if known.count(name) > 1]
        wrong += [f"{name}: is the name of two makers, expected one" for name in sorted(twice)]
        for what in ("arms", "generators", "sets"):
            wrong += _unfiled(what, list(getattr(self, what)))
        for role in ("reference", "classical"):
            name = getattr(self, role)
            if name not in self.arms and (name or role == "reference"):
                wrong.append(f"{role}: found {name!r}, expected one of the arms")
            elif name and self.arms[name].synthetic:
                wrong.append(
                    f"{role}: found {name!r}, which learns from synthetic samples, expected an arm "
                    "of real ones alone"
                )
        if COPIES in {arm.by for arm in self.arms.values()} and not self.lesion:
            wrong.append("lesion: nothing is named, expected the structures that are to be copied")
        if self.segmenters.lesion_share and not self.lesion:
            wrong.append(
                "lesion: nothing is named, expected the structures that segmenters.lesion_share "
                "is about"
            )
        wrong += [
            f"published.arms: found {name!r}, expected one of the arms"
            for name in self.published.arms
            if name not in self.arms
        ]
        wrong += [
            f"published.sd.{name}: found {measure!r}, expected measures of published.arms.{name}"
            for name, row in self.published.sd.items()
            for measure in row
            if measure not in self.published.arms.get(name, {})
        ]
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    def lesions(self, structures: Sequence[str]) -> tuple[str, ...]:
        """`lesion` by name.

        Args:
            structures: of the data, the background first.
        Raises:
            SettingsError: "*" stands for none of them.
        """
        if ANY not in self.lesion:
            return self.lesion
        labelled = [name for name in structures[1:] if not is_context(name)]
        found = tuple(name for name in labelled if name not in self.organ)
        if not found:
            raise SettingsError(
                f"lesion: found {ANY}, every structure but the organ, of data that have "
                f"{', '.join(labelled) or 'none'}: none is left but organ. Correct organ, or name "
                "the structures that are copied."
            )
        return found

    @property
    def relative_steps(self) -> dict[str, float]:
        """Steps of each arm as a multiple of those that the study names, as its cells take them."""
        found = {}
        for name, arm in self.arms.items():
            amounts = arm.real + arm.synthetic + arm.enhanced
            longer = amounts / arm.real if self.segmenters.hold == "real" and arm.real else 1.0
            found[name] = arm.times * longer
        return found

    @property
    def relative_exposure(self) -> dict[str, float]:
        """How often each arm sees each of its real samples, where an arm of these alone is 1."""
        found = dict.fromkeys(self.arms, 0.0)
        for name, steps in self.relative_steps.items():
            if self.arms[name].real:
                mix = self.arms[name].plan.mix(_MANY, max(1, round(_MANY * steps)), seed=0)
                found[name] = mix.drawn["real"] / mix.sizes["real"]
        return found

    @property
    def makers(self) -> dict[str, list[str]]:
        """Who makes synthetic samples -> the arms that take them."""
        found: dict[str, list[str]] = {}
        for name, arm in self.arms.items():
            if arm.synthetic:
                found.setdefault(arm.by, []).append(name)
        return found


class Beside(Published):
    """What a paper says of generators: those that are trained here, and others."""

    cited: dict[str, dict[str, float]] = Field(
        default_factory=dict, description="what is not done here -> measure -> value"
    )


class Analysis(Study):
    """A study of the generators themselves."""

    analysis: str = number(..., "one of `analyses.KINDS`")
    options: dict[str, Any] = Field(default_factory=dict, description="its settings by name")
    published: Beside = Beside()

    @model_validator(mode="after")
    def _check(self) -> Analysis:
        if not self.generators:
            raise ValueError("generators: found none, expected one at least")
        if wrong := _unfiled("generators", list(self.generators)):
            raise ValueError("; ".join(wrong))
        return self


def _unfiled(what: str, names: Sequence[str]) -> list[str]:
    """Names that no file can have, or that two would have: what is finished is kept under them."""
    filed: dict[str, list[str]] = {}
    for name in names:
        filed.setdefault(file_name(name), []).append(name)
    wrong = []
    for file, same in filed.items():
        if not any(sign.isalnum() for sign in file):
            wrong.append(f"{what}: found {same[0]!r}, expected a name with a letter or a digit")
        elif len(same) > 1:
            found = " and ".join(map(repr, same))
            wrong.append(
                f"{what}: found {found}, whose files would all be called {file}, expected names "
                "that differ in letters or digits"
            )
    return wrong


def words(sets: Mapping[str, Any]) -> list[str]:
    """Settings by name as the words of `--set`."""
    dumped = {name: yaml.safe_dump(value, default_flow_style=True) for name, value in sets.items()}
    end = "...\n"  # a document that is one word ends with it
    return [f"{name}={text.removesuffix(end).strip()}" for name, text in dumped.items()]


def find_spec(word: str) -> Spec | Analysis:
    """A study by the path of its file or by PAPER/ITEM.

    Raises:
        SettingsError: there is none, or it has mistakes, all of which are told.
    """
    path = Path(word)
    if path.suffix in (".yaml", ".yml"):
        return _read(path)
    there = paper_specs()
    if word not in there:
        near = difflib.get_close_matches(word, there, n=3, cutoff=0.4) or list(there)[:8]
        raise SettingsError(
            f"{word}: is no study. Give a YAML file, or one of {', '.join(near)} (all: scansmith "
            "study --list)."
        )
    return _read(there[word])


def _read(path: Path) -> Spec | Analysis:
    """An analysis says so; what does not is a comparison of segmenters."""
    if "analysis" in read_yaml(path):
        return read_model(Analysis, path)
    return read_model(Spec, path)


def paper_specs() -> dict[str, Path]:
    """PAPER/ITEM -> its file."""
    files = sorted(PAPERS.glob("*/*.yaml"))
    return {f"{path.parent.name}/{path.stem}": path for path in files}
