"""The named rewrites of ``tflite-fp32``: each keeps the function, and suits channels last and the XNNPACK delegate.

They work on a copy of the torch module, as those of `vitdeploy.exporters.rewrites.table` do, and are a table of their
own because what is cheap differs: XNNPACK runs a reshape for nothing and leaves whatever it does not know to the
interpreter, at the price of one more partition. ``--without NAME`` leaves one out. Each has a near-miss in
``tests/exporters/test_rewrite_tflite.py`` that parity must refuse.
"""

from collections.abc import Mapping
from typing import Final

from vitdeploy.exporters.rewrites.table import Rewrite
from vitdeploy.exporters.rewrites.tflite_attention import attention_apart, softmax_as_products
from vitdeploy.exporters.rewrites.tflite_masks import masks_by_place
from vitdeploy.exporters.rewrites.tflite_upsampling import cubic_channels_last

TFLITE_REWRITES: Final[Mapping[str, Rewrite]] = {
    "cubic-channels-last": Rewrite(
        summary="bicubic enlargement as two products with constant matrices, channels last",
        apply=cubic_channels_last,
    ),
    "attention-apart": Rewrite(
        summary="linear attention without pads, with few copies of maps, channels last",
        apply=attention_apart,
    ),
    "softmax-as-products": Rewrite(
        summary="softmax attention as two products around a softmax, channels last",
        apply=softmax_as_products,
    ),
    "masks-by-place": Rewrite(
        summary="the enlargement of masks as products over places, channels last",
        apply=masks_by_place,
    ),
}
"""All of them, in the order in which they are applied."""
