"""The samples of a mix, batch by batch, as segmenters take them; lesions more often, if wanted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from scansmith.augment import augmented
from scansmith.evaluate.segmentation import Labelled, Samples
from scansmith.scan import Batch, DataError
from scansmith.settings import Augmentation
from scansmith.studies.mix import SOURCES, Mix, Source


@dataclass(frozen=True)
class Favour:
    """What is drawn more often than it occurs.

    Attributes:
        structures: indices.
        share: least share of a step's samples that show one of them.
    """

    structures: tuple[int, ...]
    share: float

    def showing(self, data: Labelled) -> frozenset[int]:
        """The samples that show one of the structures."""
        wanted = list(self.structures)
        return frozenset(n for n, labels in enumerate(data.labels) if np.isin(labels, wanted).any())


def favoured(
    chosen: Sequence[tuple[Source, int]],
    showing: Mapping[Source, Sequence[int]],
    least: int,
    rng: np.random.Generator,
) -> list[tuple[Source, int]]:
    """A step's samples, of which so many at least show what is favoured.

    The last of those that do not are each exchanged for one of the same source that does, so that
    the sources' shares stay; a source that has none keeps what was drawn.
    """
    found = list(chosen)
    there = {source: frozenset(samples) for source, samples in showing.items()}
    lacking = [n for n, (source, sample) in enumerate(found) if sample not in there[source]]
    wanted = least - (len(found) - len(lacking))
    able = [n for n in lacking if showing[found[n][0]]]
    for n in able[::-1][: max(wanted, 0)]:
        source = found[n][0]
        found[n] = source, int(rng.choice(showing[source]))
    return found


def mixed(
    mix: Mix, sources: Mapping[Source, Labelled], batch: int, favour: Favour | None = None
) -> Samples:
    """The samples of a mix, as segmenters take them.

    Args:
        sources: every source that the mix uses; "enhanced" from `enhanced`. Batches name the
            source of each sample as its case.
        favour: None: all samples are drawn alike.
    Raises:
        DataError: a source has not the number of samples that the mix was planned for.
    """
    wrong = [
        f"mix: found {len(sources[source]) if source in sources else 'no'} {source} samples, "
        f"expected {mix.offered[source]}. Plan the mix for the samples that there are."
        for source in SOURCES
        if mix.sizes[source]
        and (source not in sources or len(sources[source]) != mix.offered[source])
    ]
    if wrong:
        raise DataError("\n".join(wrong))
    showing: dict[Source, list[int]] = {}
    if favour is not None:
        for source in SOURCES:
            if mix.sizes[source]:
                there = favour.showing(sources[source])
                showing[source] = [n for n in mix.used[source] if n in there]

    def draw(step: int) -> Batch:
        chosen = mix.step(step, batch)
        if favour is not None:
            rng = np.random.default_rng([mix.seed, len(SOURCES) + 2, step])
            chosen = favoured(chosen, showing, math.ceil(favour.share * batch), rng)
        images = [sources[source].images[n] for source, n in chosen]
        labels = [sources[source].labels[n] for source, n in chosen]
        return Batch(
            torch.from_numpy(np.stack(images)).float(),
            torch.from_numpy(np.stack(labels).astype(np.int64)),
            cases=tuple(source for source, _ in chosen),
            samples=tuple(n for _, n in chosen),
        )

    return draw


def enhanced(
    real: Labelled, mix: Mix, numbers: Augmentation | None = None, spacing_mm: Sequence[float] = ()
) -> Labelled:
    """The classically augmented copies that a mix asks for, of the real samples that it uses.

    Each real sample is copied as often as any other, or once less; copies do not change from epoch
    to epoch. A study of what they are worth trains without augmentation beside them.

    Args:
        numbers: None: the defaults. Whatever `moved` says every copy is moved, or it would be none.
    """
    numbers = (numbers or Augmentation()).model_copy(update={"moved": 1.0})
    images, labels = [], []
    for copy in range(mix.sizes["enhanced"]):
        original = mix.used["real"][copy % mix.sizes["real"]]
        words = np.random.SeedSequence([mix.seed, len(SOURCES), copy]).generate_state(1, np.uint64)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(words[0] >> np.uint64(1)))
            image, label = augmented(
                torch.from_numpy(np.asarray(real.images[original])[None]).float(),
                torch.from_numpy(np.asarray(real.labels[original])[None].astype(np.int64)),
                numbers,
                spacing_mm,
            )
        images.append(image[0].numpy())
        labels.append(label[0].numpy().astype(np.uint8))
    return Labelled(images, labels)
