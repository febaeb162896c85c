"""mIoU of a few pictures by torchmetrics, to hold ours against; a leaf, torch is partly untyped."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportPrivateImportUsage=false, reportUnknownArgumentType=false

from importlib import metadata
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics import classification

LIBRARY = f"torchmetrics {metadata.version('torchmetrics')}"


class MeanIou:
    """mIoU over the classes that occur, of pictures that are added one by one."""

    def __init__(self, classes: int, ignore: int) -> None:
        self._metric = classification.MulticlassJaccardIndex(classes, average="macro", ignore_index=ignore)

    def add(self, predicted: NDArray[Any], truth: NDArray[Any]) -> None:
        """Classes and labels ``(h, w)`` of one picture."""
        predictions, labels = (torch.from_numpy(np.asarray(classes, np.int64)) for classes in (predicted, truth))
        self._metric.update(predictions, labels)

    def percent(self) -> float:
        """Of all that was added."""
        return float(100 * self._metric.compute())
