"""What an engine is bound to, and the refusal to open it anywhere else: pure, standard library only.

An engine holds kernels that were chosen and compiled for one GPU by one version of one package. A manifest's
``bound_to`` says which, and whoever opens an engine asks `check` first: TensorRT itself refuses another version with an
error of its own, and takes another GPU of the same compute capability with no more than a warning.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from vitdeploy.errors import Impossible

OLDEST_TENSORRT = (10, 3)
"""The first that builds engines here, of JetPack 6.1. Source: https://developer.nvidia.com/embedded/jetpack-sdk-61"""

PACKAGES = ("tensorrt", "tensorrt_rtx")
"""Whose version an engine is bound to; a key of ``bound_to`` each."""


def bound_to(
    *, package: str, version: str, compute_capability: Sequence[str], gpu: str | None = None
) -> dict[str, Any]:
    """A manifest's ``bound_to``.

    Args:
        package: one of `PACKAGES`.
        version: of that package, as it says it itself.
        compute_capability: for which the engine holds kernels: one, or several if it was built ahead of time.
        gpu: name of the GPU that it was built on; None: on none.
    """
    bound: dict[str, Any] = {"compute_capability": list(compute_capability), package: version}
    return bound if gpu is None else {**bound, "gpu": gpu}


def check(
    bound: Mapping[str, Any], *, package: str, version: str, compute_capability: str | None, gpu: str | None = None
) -> tuple[str, ...]:
    """Refuse an engine that was built for something else than what is here.

    Args:
        bound: the manifest's ``bound_to``; empty for a file that runs anywhere.
        package: one of `PACKAGES`, which is going to open it.
        version: of that package here.
        compute_capability: of the GPU here, ``8.7``; None: there is none.
        gpu: its name.

    Returns:
        What a reader of its figures has to know: the engine was built on another GPU of the same compute capability.

    Raises:
        Impossible: it cannot run here; the message names both sides.
    """
    if not bound:
        return ()
    built_by = next((name for name in PACKAGES if name in bound), None)
    if built_by is not None and built_by != package:
        raise Impossible(
            f"the engine was built by {built_by} {bound[built_by]}, and {package} {version} would open it",
            f"Open it with {built_by}, or export it again for {package}.",
        )
    if built_by is not None and bound[built_by] != version:
        raise Impossible(
            f"the engine is bound to {built_by} {bound[built_by]}, and here is {version}",
            "Build it again here: `vitdeploy export` with the same options.",
        )
    capabilities = [str(capability) for capability in bound.get("compute_capability", ())]
    if capabilities and compute_capability not in capabilities:
        actual = f"the GPU here has {compute_capability}" if compute_capability else "there is no NVIDIA GPU here"
        raise Impossible(
            f"the engine is bound to compute capability {' or '.join(capabilities)}, and {actual}",
            "Build it again on the device that is to run it: `vitdeploy export --device` with its name.",
        )
    if gpu is not None and bound.get("gpu") not in (None, gpu):
        return (f"the engine was built on another GPU, {bound['gpu']}; here is {gpu}",)
    return ()
