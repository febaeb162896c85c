"""Deploy EfficientViT (MIT) and its rivals to real hardware, and time what was deployed.

The verbs of the command line are functions of this package, with the options as keyword arguments: ``vitdeploy.export``
is ``vitdeploy export``. They are imported on first use, so that ``import vitdeploy`` costs nothing. The request classes
are the same options as values; `vitdeploy.errors` has the exceptions.
"""

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from vitdeploy._version import __version__

if TYPE_CHECKING:
    from vitdeploy import errors
    from vitdeploy.api.cases import BenchRequest
    from vitdeploy.api.compare import CompareRequest
    from vitdeploy.api.duel import DuelRequest
    from vitdeploy.api.export import create_model
    from vitdeploy.api.export_request import ExportRequest
    from vitdeploy.api.predict import PredictRequest
    from vitdeploy.api.studies import StudyRequest
    from vitdeploy.errors import VitdeployError
    from vitdeploy.evaluation.request import EvalRequest
    from vitdeploy.fleet.api import SweepRequest
    from vitdeploy.verbs.decide import accept, compare, load, load_history, report, verify
    from vitdeploy.verbs.make import check, export, predict
    from vitdeploy.verbs.manage import (
        cache_gc,
        cache_ls,
        devices,
        devices_add,
        devices_show,
        doctor,
        models,
        suites,
        targets,
        weights,
    )
    from vitdeploy.verbs.measure import bench, calibrate, duel, eval, selftest, sweep  # noqa: A004 (the verb's name)
    from vitdeploy.verbs.study import attention, reproduce

__all__ = [
    "BenchRequest",
    "CompareRequest",
    "DuelRequest",
    "EvalRequest",
    "ExportRequest",
    "PredictRequest",
    "StudyRequest",
    "SweepRequest",
    "VitdeployError",
    "__version__",
    "accept",
    "attention",
    "bench",
    "cache_gc",
    "cache_ls",
    "calibrate",
    "check",
    "compare",
    "create_model",
    "devices",
    "devices_add",
    "devices_show",
    "doctor",
    "duel",
    "errors",
    "eval",
    "export",
    "load",
    "load_history",
    "models",
    "predict",
    "report",
    "reproduce",
    "selftest",
    "suites",
    "sweep",
    "targets",
    "verify",
    "weights",
]

_MODULES = {
    "api.cases": ("BenchRequest",),
    "api.compare": ("CompareRequest",),
    "api.duel": ("DuelRequest",),
    "api.export": ("create_model",),
    "api.export_request": ("ExportRequest",),
    "api.predict": ("PredictRequest",),
    "api.studies": ("StudyRequest",),
    "errors": ("VitdeployError",),
    "evaluation.request": ("EvalRequest",),
    "fleet.api": ("SweepRequest",),
    "verbs.decide": ("accept", "compare", "load", "load_history", "report", "verify"),
    "verbs.make": ("check", "export", "predict"),
    "verbs.manage": ("cache_gc", "cache_ls", "devices_add", "devices_show", "doctor", "suites", "targets", "weights"),
    "verbs.measure": ("bench", "calibrate", "duel", "eval", "selftest", "sweep"),
    "verbs.study": ("attention", "reproduce"),
}
"""Module → the names of the package that it defines."""


_LISTINGS = ("devices", "models")
"""Verbs whose names are also folders of this package: these modules can be called."""


class _Listing(ModuleType):
    """A folder of the package that is a verb as well: ``vitdeploy.models()`` lists the models."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self.__wrapped__(*args, **options)

    @property
    def __wrapped__(self) -> Any:
        """The verb, which `inspect.signature` looks at."""
        return getattr(importlib.import_module("vitdeploy.verbs.manage"), self.__name__.rpartition(".")[2])


class _Package(ModuleType):
    """This package: the import system sets its folders as attributes."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _LISTINGS and type(value) is ModuleType:
            value.__class__ = _Listing
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(importlib.import_module(f"vitdeploy.{module}"), name)
    if name in ("errors", *_LISTINGS):
        return importlib.import_module(f"vitdeploy.{name}")
    msg = f"module 'vitdeploy' has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return sorted(__all__)
