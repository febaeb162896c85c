"""Deploy EfficientViT (MIT) and its rivals to real hardware, and time what was deployed.

The verbs of the command line are functions of this package; they are imported on first use, so that
``import vitdeploy`` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

from vitdeploy._version import __version__

if TYPE_CHECKING:
    from vitdeploy.api.accept import accept
    from vitdeploy.api.bench import bench
    from vitdeploy.api.calibrate import calibrate
    from vitdeploy.api.check import check
    from vitdeploy.api.compare import compare
    from vitdeploy.api.doctor import doctor
    from vitdeploy.api.duel import duel
    from vitdeploy.api.export import create_model, export
    from vitdeploy.api.predict import predict
    from vitdeploy.api.report import report
    from vitdeploy.api.verify import verify

__all__ = [
    "__version__",
    "accept",
    "bench",
    "calibrate",
    "check",
    "compare",
    "create_model",
    "doctor",
    "duel",
    "export",
    "predict",
    "report",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module(f"vitdeploy.api.{'export' if name == 'create_model' else name}"), name)
    msg = f"module 'vitdeploy' has no attribute {name!r}"
    raise AttributeError(msg)
