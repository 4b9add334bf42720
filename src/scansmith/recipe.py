"""Recipe: what a method eats, as plain data. The data room obeys it; neither imports the other.

A method states a `Recipe`. Preparing turns raw scans into what it asks for, and states the
`Facts` that a method needs in order to build its networks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field


class _Plain(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Intensity(_Plain):
    """How raw values are to become network values. `data.intensity` fits it to scans: a `Codec`.

    kind "window": raw `low`..`high` becomes `target`, what lies outside is clipped.
    kind "minmax": like window, with the limits taken from the data (`percentile` caps the top).
    kind "zscore": (raw - mean) / sd, then clipped to +-`clip` and divided by it if `clip` is set.
    """

    kind: Literal["window", "minmax", "zscore"]
    scope: Literal["case", "dataset"] = Field(
        "dataset", description="one pair of statistics for each case, or one for the training split"
    )
    low: float | None = None
    high: float | None = None
    percentile: float = 100.0
    clip: float | None = None
    foreground_only: bool = Field(
        False, description="statistics over voxels other than 0 only (tissue may be negative)"
    )
    background: float | None = Field(
        None, description="network value of voxels whose raw value is 0; None: no special value"
    )
    target: tuple[float, float] = (-1.0, 1.0)


class Codec(_Plain):
    """Fitted intensity mapping of one modality: raw units to network range and back.

    encode: clip((raw - offset) / scale, low, high); raw 0 becomes `background` if that is set.
    decode: network * scale + offset; `background` becomes 0.
    `data_range` is the width of the network range in raw units, for PSNR and SSIM.
    """

    offset: float
    scale: float
    low: float | None = None
    high: float | None = None
    background: float | None = None
    data_range: float

    def encode(self, raw: np.ndarray) -> np.ndarray:
        """Raw values of any shape to network range, float32."""
        raw = np.asarray(raw, dtype=np.float32)
        network = (raw - np.float32(self.offset)) / np.float32(self.scale)
        if self.low is not None or self.high is not None:
            network = np.clip(network, self.low, self.high)
        if self.background is not None:
            network = np.where(raw == 0, np.float32(self.background), network)
        return network.astype(np.float32)

    def decode(self, network: np.ndarray) -> np.ndarray:
        """Network range to raw units, float32."""
        network = np.asarray(network, dtype=np.float32)
        raw = network * np.float32(self.scale) + np.float32(self.offset)
        if self.background is not None:
            raw = np.where(network <= self.background, np.float32(0), raw)
        return raw.astype(np.float32)


class Draw(_Plain):
    """One kind of sample that a training step draws, under the name by which `play` finds it.

    A sample qualifies if each structure of `has` covers at least `min_pixels` pixels in it, and
    no structure of `lacks` occurs. Structures go by name; "*" means any but background and context.

    With `each_modality` a step gets one sample for each modality, under "NAME.MODALITY", each
    drawn on its own: modalities of different patients, as if they had never been registered.
    """

    name: str
    has: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    min_pixels: int = 1
    each_modality: bool = False

    def names(self, modalities: tuple[str, ...]) -> tuple[str, ...]:
        """The names under which `play` finds its samples."""
        if not self.each_modality:
            return (self.name,)
        return tuple(f"{self.name}.{modality}" for modality in modalities)


class Regions(_Plain):
    """Structures that preparing adds where nothing is labelled, so that a map says what is there.

    kind "foreground": "context", the largest connected piece of the scan that differs from its
        surroundings in the first modality, holes filled: the brain of a skull-stripped scan.
    kind "inside": "context", the largest piece of the first modality that is brighter than air
        (above half of Otsu's threshold of the scan), holes of each slice filled, without its
        outer `rim_mm` in the slice: of a whole head about the brain, without scalp and skull.
    kind "kmeans": "context 1" to "context `classes`", from dark to bright: clusters of the first
        modality's values, smoothed by a Gaussian of sd `smooth`.
    They move with the labels when these are edited, and are never written to label files.
    """

    kind: Literal["foreground", "inside", "kmeans"]
    classes: int = Field(4, ge=2, le=16)
    rim_mm: float = Field(0.0, ge=0, description="with kind inside")
    smooth: float = Field(1.0, ge=0, description="sd in voxels of the prepared grid")


class Edits(_Plain):
    """How label maps are changed to make new ones.

    kind "place": lesions of the bank, reshaped, are set into `organ` where it is free of `lesion`.
    kind "deform": the whole label map is moved and bent by a small random transformation.
    kind "reshape": the lesion is flipped, turned, scaled and bent where it is, inside `organ`.
    kind "redraw": the lesion is moved, turned or shrunk anywhere; all else becomes background.
    kind "keep": labels stay; for methods that make them.
    `unit` is what one synthetic case is made from: a whole source case, or one sample of the draw
    named `draw`. `strength` is that of deform: 1 is as much as patients differ where an organ is
    as large as a heart; a small organ bent so much has shapes that no patient has.
    """

    kind: Literal["place", "deform", "reshape", "redraw", "keep"]
    lesion: tuple[str, ...] = ()
    organ: tuple[str, ...] = ()
    unit: Literal["case", "sample"] = "case"
    draw: str = ""
    strength: float = Field(1.0, gt=0, le=2)


class Recipe(_Plain):
    """What a method eats.

    Attributes:
        dims: 2 (axial slices) or 3 (volumes).
        size: (H, W) or (D, H, W) of a prepared sample, in pixels.
        fit: "resize" pads to the aspect of `size` and resamples; "crop" cuts or pads round the
            centre at the native (or `spacing_mm`) grid.
        modalities: names to take, in this order; empty: what the data set has.
        channels: how many modalities there must be; None: any number.
        needs: structures that the label table must name.
        structures: structures to keep (others become background); empty: all.
        min_foreground: samples are left out if a smaller share of their voxels differs from the
            image's surroundings (the value of all its corners, else its minimum; 0 for codecs
            that look at the foreground only).
        balance: "case" draws a case first, then one of its samples; "sample" draws all alike.
        around: scans are cut to the box round these structures, `margin_mm` wider on each side and
            widened to the aspect of `size` as far as the scan goes; empty: not cut.
        regions: structures to add where nothing is labelled; None: none.
        tasks: what else can be made than by `edits`: name -> the edits for it.
        split: shares of patients for training, validation and test.
        settings: the data settings that the recipe was stated from, for training to take up.
    """

    method: str
    dims: Literal[2, 3]
    size: tuple[int, ...]
    intensity: Intensity
    fit: Literal["resize", "crop"] = "resize"
    spacing_mm: tuple[float, ...] | None = None
    modalities: tuple[str, ...] = ()
    channels: int | None = 1
    needs: tuple[str, ...] = ()
    structures: tuple[str, ...] = ()
    min_foreground: float = 0.0
    draws: tuple[Draw, ...] = (Draw(name="real"),)
    balance: Literal["case", "sample"] = "sample"
    around: tuple[str, ...] = ()
    margin_mm: float = 0.0
    regions: Regions | None = None
    edits: Edits = Edits(kind="deform")
    tasks: Mapping[str, Edits] = Field(default_factory=dict)
    split: tuple[float, float, float] = (0.8, 0.0, 0.2)
    patients: int = 0
    seed: int = 0
    settings: dict[str, Any] = Field(default_factory=dict)


class Facts(_Plain):
    """What preparing found out, and a method has to know to build its networks.

    Attributes:
        structures: K names in index order; the first is the background.
        codecs: C of them; with scope "case", those of the first training case (for data_range).
        fingerprint: content hash of the store.
    """

    dims: int
    size: tuple[int, ...]
    modalities: tuple[str, ...]
    structures: tuple[str, ...]
    codecs: tuple[Codec, ...]
    fingerprint: str = ""
