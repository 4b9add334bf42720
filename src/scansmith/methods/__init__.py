"""The published systems, by name. A new method is one file, one line here and one docs page."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from scansmith.scan import SettingsError

if TYPE_CHECKING:
    from scansmith.methods.base import Method

#: Name -> where its class is. Looked up when needed, so that listing names imports nothing.
METHODS: dict[str, str] = {
    "magan": "scansmith.methods.magan:Magan",
    "ant-gan": "scansmith.methods.ant_gan:AntGan",
    "heart-gan": "scansmith.methods.heart_gan:HeartGan",
    "registered-multimodal": "scansmith.methods.registered_multimodal:RegisteredMultimodal",
    "mm-gan": "scansmith.methods.mm_gan:MmGan",
}


def find_method(name: str) -> type[Method]:
    """The class of a method. Raises SettingsError with the names there are."""
    if name not in METHODS:
        raise SettingsError(f"method {name!r}: no such method. Choose one of {', '.join(METHODS)}.")
    module, _, attribute = METHODS[name].partition(":")
    return getattr(import_module(module), attribute)
