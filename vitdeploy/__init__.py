"""Deploy EfficientViT (MIT) and its rivals to real hardware, and time what was deployed.

The verbs of the command line are functions of this package; they are imported on first use, so that
``import vitdeploy`` costs nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vitdeploy.api import bench, check, create_model, doctor, export, predict, report
    from vitdeploy.api_decide import accept, calibrate, compare, duel, verify

__version__ = "0.1.0"

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
_DECIDING = frozenset({"accept", "calibrate", "compare", "duel", "verify"})


def __getattr__(name: str) -> Any:
    if name in __all__:
        from vitdeploy import api, api_decide

        return getattr(api_decide if name in _DECIDING else api, name)
    msg = f"module 'vitdeploy' has no attribute {name!r}"
    raise AttributeError(msg)
