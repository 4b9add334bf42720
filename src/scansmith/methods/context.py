"""Context regions and bent maps: options of every method that draws images from label maps."""

from __future__ import annotations

from typing import Literal

from scansmith.recipe import Regions
from scansmith.settings import DataSettings, number

Context = Literal["none", "region", "kmeans"]


class ContextData(DataSettings):
    """Data settings of a method whose label maps may say what lies round the labels."""

    context: Context = number(
        "none",
        "what unlabelled body is: background; one region (body found by its values); or tissues "
        "(k-means clusters of smoothed values)",
    )
    context_classes: int = number(4, "tissues, with context kmeans", ge=2, le=16)
    context_smooth: float = number(1.0, "voxels, sd of the smoothing before kmeans", ge=0)
    deform: float = number(
        1.0,
        "strength of edits that deform: 1 turns, scales and bends (sd 6 mm) as much as patients "
        "with large organs differ; less for small ones",
        gt=0,
        le=2,
    )

    def regions(self) -> Regions | None:
        """What a recipe asks for."""
        if self.context == "none":
            return None
        kind: Literal["foreground", "kmeans"] = (
            "foreground" if self.context == "region" else "kmeans"
        )
        return Regions(kind=kind, classes=self.context_classes, smooth=self.context_smooth)
