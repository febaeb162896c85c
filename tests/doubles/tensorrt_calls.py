"""Planted for pyright: a call that TensorRT has not, which its type stubs (`make lint` fetches them) must refuse.

Where the stubs are not found, TensorRT's types are unknown and every call in `on_trt` and `build_engine` passes
unseen: then the import below is an error, and so is the comment that expects one.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true, reportMissingModuleSource=false

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorrt

    tensorrt.Runtime.no_such_call  # pyright: ignore[reportAttributeAccessIssue]  # noqa: B018
