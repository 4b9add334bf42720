"""What an analysis' options ask of its data and generators, told before anything is trained.

A check tells all that cannot be, line by line. What the options alone forbid, their models refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from scansmith.augment import refuse_swapped_sides
from scansmith.data.store import Store
from scansmith.evaluate.segmenter_networks import check_network
from scansmith.nets.resnet_generator import ResNetGenerator
from scansmith.scan import ScansmithError
from scansmith.settings import Settings
from scansmith.studies import blinded, healed_channel, lesion_classification
from scansmith.studies.counterparts import told_apart
from scansmith.studies.healed_folds import Folds
from scansmith.studies.spec import Generator, words
from scansmith.studies.sweep import value_of
from scansmith.workflow import method_settings


@dataclass(frozen=True)
class Planned:
    """What an analysis will have.

    Attributes:
        generators: name -> what will be trained on `store`.
        options: of the analysis' kind.
    """

    generators: Mapping[str, Generator]
    store: Store
    options: Any


def anything(planned: Planned) -> Iterable[str]:
    """Nothing is asked."""
    return ()


def healing(planned: Planned) -> Iterator[str]:
    """The folder of twins is there; generators have the layers, and the number of the sweep."""
    told = planned.options
    if told.twins is not None and not told.twins.is_dir():
        yield f"twins: {told.twins} is no folder, expected the scans without lesions. Correct it."
    for name, part in planned.generators.items():
        try:
            settings = method_settings(part.method, preset=part.preset, sets=words(part.sets))
        except ScansmithError:  # told when it is its turn
            continue
        there = _layers(settings)
        if there and (unknown := [layer for layer in told.layers if layer not in there]):
            yield (
                f"layers: found {', '.join(unknown)}, which A2N of {name} does not have. Choose "
                f"among {', '.join(there)}."
            )
        if told.against:
            numbers = settings.model_dump(mode="json")
            yield from _problems(partial(value_of, name, numbers, told.against))


def _layers(settings: Settings) -> tuple[str, ...]:
    """What `AntGan.features` can show; of another method nothing is known."""
    blocks = getattr(settings.method, "blocks", None)
    return () if blocks is None else tuple(ResNetGenerator(1, 1, blocks).layers)


def readers(planned: Planned) -> Iterator[str]:
    """The test cases can show half of the pictures."""
    return _problems(partial(blinded.check, planned.options, planned.store))


def segmenters(planned: Planned) -> Iterator[str]:
    """The network suits the samples."""
    facts = planned.store.facts
    return _problems(partial(check_network, planned.options.numbers, facts.dims, facts.structures))


def channel(planned: Planned) -> Iterator[str]:
    """Patients can be dealt out to the folds, and the segmenters suit the samples."""
    asked = planned.options.segmenters
    names, _ = told_apart(planned.store.facts.structures)
    if healed_channel.PLAIN in planned.generators:
        yield f"generators: {healed_channel.PLAIN} is the reference's name. Choose another."
    yield from _problems(partial(check_network, asked.numbers, 2, names))
    yield from _problems(partial(refuse_swapped_sides, asked.augmentation, names, 2))
    yield from _dealt(planned, lambda folds: folds.all)


def classification(planned: Planned) -> Iterator[str]:
    """Patients can be dealt out to the folds, and every one has what classifiers learn from."""
    asked = planned.options
    yield from _problems(partial(lesion_classification.check_names, planned.generators))
    yield from _dealt(
        planned,
        lambda folds: lesion_classification.Study(folds, asked.classifiers).check(asked.questions),
    )


def _dealt(planned: Planned, check: Callable[[Folds], object]) -> Iterator[str]:
    """What a check of the folds finds. They are of links and not kept: others may be asked for."""
    with TemporaryDirectory(dir=planned.store.path.parent) as scratch:
        asked = planned.options.cross_validation((0,))
        runs = dict.fromkeys(planned.generators, ())
        yield from _problems(lambda: check(Folds(planned.store, runs, Path(scratch), asked)))


def _problems(check: Callable[[], object]) -> Iterator[str]:
    """A line if something raises an error that the user can mend."""
    try:
        check()
    except ScansmithError as error:
        yield str(error)
