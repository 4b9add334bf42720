"""Label tables: which value means which structure, under which name, in which colour."""

from __future__ import annotations

import colorsys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from scansmith.scan import DataError

_SYNONYMS = {
    "tumor": "tumour", "cancer": "tumour", "lesion": "tumour", "liver tumor": "tumour",
    "liver tumour": "tumour", "edema": "oedema", "ed": "oedema", "ncr": "necrosis",
    "ncr/net": "necrosis", "necrotic": "necrosis", "et": "enhancing",
    "enhancing tumor": "enhancing", "enhancing tumour": "enhancing",
    "non-enhancing tumor": "non-enhancing", "non-enhancing tumour": "non-enhancing",
    "myo": "myocardium", "lv": "left ventricle", "rv": "right ventricle", "la": "left atrium",
    "ra": "right atrium", "ao": "aorta", "pa": "pulmonary artery",
}  # fmt: skip


CONTEXT = "context"
#: Structures of a table: indices are bytes, and 0 is the background.
MOST = 255


def is_context(structure: str) -> bool:
    """Whether a structure says what lies round the labels: added in preparing, never written."""
    return structure == CONTEXT or structure.startswith(f"{CONTEXT} ")


def plain_name(name: str) -> str:
    """A structure name in lower case with single spaces."""
    return " ".join(name.replace("_", " ").lower().split())


def standard_name(name: str) -> str:
    """The field's standard term for a structure name: plain, common synonyms folded."""
    return _SYNONYMS.get(plain_name(name), plain_name(name))


def name_among(structures: Collection[str], name: str) -> str:
    """What a structure goes by among these: its plain name if they have it, else the standard."""
    return plain_name(name) if plain_name(name) in structures else standard_name(name)


@dataclass(frozen=True)
class LabelTable:
    """Names of label values. `names[value]`; value 0 is always the background.

    Structure *indices* 0..K-1 are the values' ranks in ascending order; networks and stores use
    indices, files use values.

    Values under one name are one structure, which goes by the lowest of them; the others are its
    `aliases`, read but never written (MM-WHS has voxels of 421 beside the left atrium's 420).
    `plain` are the K names as they were given, before synonyms were folded.
    """

    names: Mapping[int, str]
    aliases: Mapping[int, int] = field(init=False, default_factory=dict)
    plain: tuple[str, ...] = field(init=False, default=(), compare=False)

    def __post_init__(self) -> None:
        lowest = {"background": 0}
        given = {int(value): plain_name(name) for value, name in self.names.items()}
        for value, name in sorted(given.items()):
            lowest.setdefault(name if value else "background", value)
        if len(lowest) - 1 > MOST:
            raise DataError(
                f"label table: found {len(lowest) - 1} structures, expected at most {MOST}. "
                "Merge some (values under one name in labels.json are one structure) or drop some."
            )
        standard = [standard_name(name) for name in lowest]
        names = {
            # Two names with one standard term ("lesion", "tumour") are still two structures.
            value: term if standard.count(term) == 1 else name
            for (name, value), term in zip(lowest.items(), standard, strict=True)
        }
        aliases = {v: lowest[n] for v, n in sorted(given.items()) if v and lowest[n] != v}
        object.__setattr__(self, "names", dict(sorted(names.items())))
        object.__setattr__(self, "aliases", aliases)
        object.__setattr__(self, "plain", tuple(sorted(lowest, key=lowest.__getitem__)))

    @property
    def values(self) -> tuple[int, ...]:
        """K values, ascending, 0 first."""
        return tuple(self.names)

    @property
    def known(self) -> frozenset[int]:
        """Every value that a file may hold."""
        return frozenset(self.names) | frozenset(self.aliases)

    @property
    def structures(self) -> tuple[str, ...]:
        """K names, in the order of `values`."""
        return tuple(self.names.values())

    def named_as(self, names: Collection[str]) -> tuple[str, ...]:
        """K names: each as it was given if `names` has it so, else that of `structures`."""
        both = zip(self.plain, self.structures, strict=True)
        return tuple(plain if plain in names else structure for plain, structure in both)

    def index(self, structure: str) -> int:
        """Index 0..K-1 of a structure by name. Raises DataError with the names there are."""
        wanted = name_among(self.structures, structure)
        if wanted not in self.structures:
            raise DataError(
                f"label table: no structure {structure!r} among {', '.join(self.structures)}. "
                "Name the structures of the data set in its labels.json, or choose others in the "
                "settings."
            )
        return self.structures.index(wanted)

    def encode(self, labels: np.ndarray) -> np.ndarray:
        """Values (any shape) to indices, uint8. Raises DataError on a value not in the table."""
        labels = np.asarray(labels)
        for alias, value in self.aliases.items():
            labels = np.where(labels == alias, value, labels)
        indices = np.searchsorted(self.values, labels).clip(max=len(self.values) - 1)
        unknown = np.asarray(self.values)[indices] != labels
        if unknown.any():
            found = ", ".join(str(v) for v in np.unique(labels[unknown])[:5])
            raise DataError(
                f"labels: unknown value {found}, expected {', '.join(map(str, self.values))}. "
                "Add it to the data set's label table or correct the file."
            )
        return indices.astype(np.uint8)

    def decode(self, indices: np.ndarray) -> np.ndarray:
        """Indices to values, in the smallest whole-number type that holds them."""
        values = np.asarray(self.values)
        return values.astype(np.uint8 if values.max() < 256 else np.int16)[np.asarray(indices)]

    def keep(self, structures: tuple[str, ...]) -> LabelTable:
        """The table of these structures alone (all if none is named)."""
        if not structures:
            return self
        chosen = {self.index(name) for name in structures}
        kept = {v: n for i, (v, n) in enumerate(self.names.items()) if i in chosen}
        return LabelTable(kept | {a: kept[v] for a, v in self.aliases.items() if v in kept})

    @property
    def written(self) -> LabelTable:
        """The table of what label files hold: without regions that preparing added."""
        chosen = {v: n for v, n in self.names.items() if not is_context(n)}
        return LabelTable(chosen | {a: chosen[v] for a, v in self.aliases.items() if v in chosen})

    @property
    def colours(self) -> np.ndarray:
        """RGB in 0..1, (K, 3); the background is black, the hues of the others are far apart."""
        hues = (np.arange(len(self.values)) * 0.381966) % 1.0  # golden angle: neighbours differ
        colours = [colorsys.hsv_to_rgb(h, 0.75, 1.0) for h in hues]
        return np.array([(0.0, 0.0, 0.0), *colours[1:]])


#: Codings that data sets are known by. BraTS: brats.org data descriptions; MM-WHS: challenge 2017.
KNOWN = {
    "brats": LabelTable({1: "necrosis", 2: "oedema", 4: "enhancing"}),
    "brats15": LabelTable({1: "necrosis", 2: "oedema", 3: "non-enhancing", 4: "enhancing"}),
    "brats23": LabelTable({1: "necrosis", 2: "oedema", 3: "enhancing"}),
    "lits": LabelTable({1: "liver", 2: "tumour"}),
    "mmwhs": LabelTable(
        {
            205: "myocardium",
            420: "left atrium",
            500: "left ventricle",
            550: "right atrium",
            600: "right ventricle",
            820: "aorta",
            850: "pulmonary artery",
        }
    ),
}
