"""Make labelled medical images with published GANs, and measure whether they help.

Research use. Not a medical device.
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0.dev0"

if TYPE_CHECKING:
    from scansmith.data.check import check as check
    from scansmith.data.import_dicom import import_dicom as import_dicom
    from scansmith.data.layouts import find_layout as find_layout
    from scansmith.data.phantom import make_phantom as make_phantom
    from scansmith.data.phantom import write_phantoms as write_phantoms
    from scansmith.data.store import Store as Store
    from scansmith.evaluate import audit as audit
    from scansmith.evaluate import evaluate as evaluate
    from scansmith.io import read_scan as read_scan
    from scansmith.io import write_scan as write_scan
    from scansmith.labels.table import LabelTable as LabelTable
    from scansmith.methods import METHODS as METHODS
    from scansmith.scan import CaseFiles as CaseFiles
    from scansmith.scan import DataError as DataError
    from scansmith.scan import Problem as Problem
    from scansmith.scan import RunError as RunError
    from scansmith.scan import Scan as Scan
    from scansmith.scan import ScansmithError as ScansmithError
    from scansmith.scan import SettingsError as SettingsError
    from scansmith.synthesize.make import synthesize as synthesize
    from scansmith.synthesize.rework import heal as heal
    from scansmith.synthesize.rework import translate as translate
    from scansmith.workflow import load_run as load_run
    from scansmith.workflow import prepare as prepare
    from scansmith.workflow import train as train

#: Public name -> the module it lives in, which is imported when the name is first used.
_HOME = {
    "METHODS": "scansmith.methods",
    "CaseFiles": "scansmith.scan",
    "DataError": "scansmith.scan",
    "LabelTable": "scansmith.labels.table",
    "Problem": "scansmith.scan",
    "RunError": "scansmith.scan",
    "Scan": "scansmith.scan",
    "ScansmithError": "scansmith.scan",
    "SettingsError": "scansmith.scan",
    "Store": "scansmith.data.store",
    "audit": "scansmith.evaluate",
    "check": "scansmith.data.check",
    "evaluate": "scansmith.evaluate",
    "find_layout": "scansmith.data.layouts",
    "heal": "scansmith.synthesize.rework",
    "import_dicom": "scansmith.data.import_dicom",
    "load_run": "scansmith.workflow",
    "make_phantom": "scansmith.data.phantom",
    "prepare": "scansmith.workflow",
    "read_scan": "scansmith.io",
    "synthesize": "scansmith.synthesize.make",
    "train": "scansmith.workflow",
    "translate": "scansmith.synthesize.rework",
    "write_phantoms": "scansmith.data.phantom",
    "write_scan": "scansmith.io",
}

__all__ = [
    "METHODS",
    "CaseFiles",
    "DataError",
    "LabelTable",
    "Problem",
    "RunError",
    "Scan",
    "ScansmithError",
    "SettingsError",
    "Store",
    "audit",
    "check",
    "evaluate",
    "find_layout",
    "heal",
    "import_dicom",
    "load_run",
    "make_phantom",
    "prepare",
    "read_scan",
    "synthesize",
    "train",
    "translate",
    "write_phantoms",
    "write_scan",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'scansmith' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Front(ModuleType):
    """The package. Three verbs are called like the rooms they come from; here the verb wins.

    Importing `scansmith.train.loop` would bind the room over the function `scansmith.train`.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Front
