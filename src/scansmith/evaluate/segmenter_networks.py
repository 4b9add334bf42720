"""The networks that segmenters can have, by name, and the numbers of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor, nn

from scansmith.evaluate.learning import Learning
from scansmith.nets.cascade import Cascade
from scansmith.nets.context_unet import ContextUNet
from scansmith.nets.fcn import FCN, STAGES
from scansmith.nets.segmenter import SegmenterUNet
from scansmith.scan import SettingsError
from scansmith.settings import number


class SegmenterNumbers(Learning):
    """The network and its training."""

    network: Literal["unet", "fcn", "isensee", "cascade"] = number(
        "unet", "U-Net; FCN-8s; U-Net with context modules; cascade of anisotropic networks (3D)"
    )
    base: int = number(16, "channels of the finest level", gt=0)
    depth: int = number(3, "halvings; the cascade has its own", ge=0)
    dropout: float = number(0.3, "fcn and isensee", "isensee2017; FCN has 0.5", ge=0, lt=1)
    views: int = number(1, "cascade: axes taken for the slice axis", "MM-GAN: 3", ge=1, le=3)
    nested: tuple[str, ...] = number(
        (), "cascade: structures, outermost first; empty: in the label table's order"
    )

    def facts(self) -> dict[str, Any]:
        """What decides the result of a training, JSON-able: the chosen network's numbers alone."""
        left_out = {"device", "threads"} | {
            "unet": {"network", "dropout", "views", "nested"},
            "fcn": {"views", "nested"},
            "isensee": {"views", "nested"},
            "cascade": {"depth", "dropout"},
        }[self.network]
        return self.model_dump(mode="json", exclude=left_out)


def network_of(
    numbers: SegmenterNumbers, dims: int, channels: int, structures: Sequence[str]
) -> nn.Module:
    """The network that the numbers name.

    Args:
        structures: K names, the background first.
    Raises:
        SettingsError: it has no such form.
    """
    check_network(numbers, dims, structures)
    outputs, base, depth = len(structures), numbers.base, numbers.depth
    if numbers.network == "fcn":
        return FCN(dims, channels, outputs, base=base, depth=depth, dropout=numbers.dropout)
    if numbers.network == "isensee":
        return ContextUNet(dims, channels, outputs, base=base, depth=depth, dropout=numbers.dropout)
    if numbers.network == "cascade":
        nested = [structures.index(name) for name in numbers.nested or structures[1:]]
        return Cascade(channels, nested, base=base, views=numbers.views)
    return SegmenterUNet(dims, channels, outputs, base=base, depth=depth)


def values_of(network: nn.Module, image: Tensor, labels: Tensor) -> Tensor:
    """What a network says (B, K, *S) while it learns: a cascade looks into boxes of the labels."""
    return network(image, labels) if isinstance(network, Cascade) else network(image)


def check_network(numbers: SegmenterNumbers, dims: int, structures: Sequence[str]) -> None:
    """Refuse numbers that `network_of` cannot make a network of.

    Args:
        structures: K names, the background first.
    Raises:
        SettingsError: there is no such form.
    """
    kind, depth = numbers.network, numbers.depth
    if kind == "cascade" and dims != 3:
        raise SettingsError(
            "segmenter: found network cascade for slices, expected volumes. Choose unet, fcn or "
            "isensee."
        )
    if kind == "cascade" and sorted(numbers.nested or structures[1:]) != sorted(structures[1:]):
        raise SettingsError(
            f"segmenter: found nested {', '.join(numbers.nested)}, expected each of "
            f"{', '.join(structures[1:])} once. Name the structures from the outermost to the "
            "inmost (numbers.nested)."
        )
    if kind == "fcn" and not 1 <= depth <= len(STAGES):
        raise SettingsError(
            f"segmenter: found depth {depth} for network fcn, expected 1 to {len(STAGES)}. "
            "Change depth."
        )
    if kind == "isensee" and not depth:
        raise SettingsError(
            "segmenter: found depth 0 for network isensee, expected 1 at least. Change depth."
        )
