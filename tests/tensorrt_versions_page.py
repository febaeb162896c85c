"""docs/tensorrt-versions.md, made from our calls and NVIDIA's own bindings of each version of TensorRT.

``python -m tests.tensorrt_versions_page`` writes it anew; it downloads the bindings that are not kept yet, 1 MB each.
"""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tests import tensorrt_calls, tensorrt_held
from tests.commands_page import table_lines
from tests.doubles import nvidia_bindings
from tests.doubles.nvidia_bindings import Interface
from tests.tensorrt_calls import Call

PAGE = Path(__file__).parent.parent / "docs" / "tensorrt-versions.md"

TOPICS = (
    (
        "precision asked of the builder",
        (
            "BuilderFlag.FP16",
            "BuilderFlag.BF16",
            "BuilderFlag.INT8",
            "BuilderFlag.FP8",
            "BuilderFlag.INT4",
            "BuilderFlag.FP4",
            "Builder.platform_has_fast_fp16",
        ),
        "No flag asks for a precision: every tensor has the type that the graph gives it.",
    ),
    (
        "weakly typed networks",
        (
            "BuilderFlag.OBEY_PRECISION_CONSTRAINTS",
            "BuilderFlag.PREFER_PRECISION_CONSTRAINTS",
            "NetworkDefinitionCreationFlag.STRONGLY_TYPED",
        ),
        "Strong typing is asked for by name: up to 10.16 a network without it is weakly typed. Its number changed.",
    ),
    (
        "explicit batch",
        (
            "NetworkDefinitionCreationFlag.EXPLICIT_BATCH",
            "ICudaEngine.has_implicit_batch_dimension",
        ),
        "Not passed and not asked: every network of 10.3 and later has its batch among its dimensions.",
    ),
    (
        "int8 calibration by the builder",
        (
            "IBuilderConfig.int8_calibrator",
            "IBuilderConfig.set_calibration_profile",
            "IInt8EntropyCalibrator2.get_batch",
        ),
        "Not used.",
    ),
    (
        "methods of the builder",
        (
            "Builder.build_serialized_network",
            "Builder.build_engine_with_config",
            "Builder.build_serialized_network_to_stream",
        ),
        "The first way to call it is used, which all have.",
    ),
    (
        "methods of the engine",
        (
            "ICudaEngine.create_execution_context",
            "ICudaEngine.create_runtime_config",
            "ICudaEngine.device_memory_size",
            "ICudaEngine.device_memory_size_v2",
            "ICudaEngine.create_execution_context_without_device_memory",
        ),
        "A context is made without arguments, which all versions take for a static allocation.",
    ),
    (
        "methods of the context",
        (
            "IExecutionContext.execute_v2",
            "IExecutionContext.execute_async_v3",
            "IExecutionContext.all_shape_inputs_specified",
            "IExecutionContext.get_runtime_config",
        ),
        "Tensors are named and `execute_async_v3` starts.",
    ),
    (
        "loading an engine",
        ("Runtime.deserialize_cuda_engine",),
        "The bytes of the file are given, which all versions take.",
    ),
    (
        "timing cache",
        (
            "IBuilderConfig.create_timing_cache",
            "ITimingCache.query",
            "BuilderFlag.EDITABLE_TIMING_CACHE",
        ),
        "Made, set and serialized as a whole; its entries are not read.",
    ),
    (
        "ONNX parser",
        (
            "OnnxParser.parse_from_file",
            "OnnxParser.supports_model",
            "OnnxParser.supports_model_v2",
            "OnnxParser.load_model_proto",
            "OnnxParser.set_builder_config",
        ),
        "The graph is parsed from its file, so that weights beside it are found.",
    ),
    (
        "building ahead of time",
        (
            "IBuilderConfig.num_compute_capabilities",
            "IBuilderConfig.set_compute_capability",
            "ComputeCapability.SM86",
        ),
        "Called for TensorRT for RTX alone.",
    ),
)
"""What differs, members that show it, and what our calls do about it."""

PROVIDER = (
    "## ONNX Runtime's provider for TensorRT for RTX",
    "",
    "`onnxruntime-ep-nv-tensorrt-rtx-cu12` 0.5.0 was tried as a third front end, and compiles nothing here (ONNX",
    "Runtime 1.32.0, Linux, no GPU, 30 November 2026). Its library needs the driver to load: `libcuda.so.1: cannot",
    "open shared object file`. Over stand-ins for `libcuda` and `libnvidia-ml`, with `nv_target_sm` among the",
    "environment's options (which only the C interface can set), it registers and shows no device to compile for. It",
    "holds the parser and compiler of TensorRT for RTX 1.7.1, which `trt-rtx-fp16` calls directly.",
)
"""What came of it; nothing of it can be generated."""


def page(offered: Sequence[Interface]) -> str:
    """The document."""
    *tensorrt, rtx = offered
    first, last = tensorrt[0].name, tensorrt[-1].name
    calls = tensorrt_calls.gather().calls
    sections = [
        "# TensorRT versions",
        "",
        "This page answers which versions of TensorRT's Python interface the calls of `vitdeploy` fit, and what",
        "differs between them. `python -m tests.tensorrt_versions_page` makes it from NVIDIA's own bindings",
        f"(`tensorrt-cu12-bindings`, the last release of each minor version from {first} to {last}, and",
        f"`tensorrt-rtx-cu12-bindings` {nvidia_bindings.RTX.version}), imported over stand-ins for their libraries.",
        "",
        "It shows that every name, argument and kind of result exists. It does not show that an engine is built or",
        "runs: the bindings hold no TensorRT, and no GPU was there. A slow test (`tests/test_tensorrt_versions.py`)",
        "makes the page again and fails where a call does not fit a version; a fast one fails where one is not here.",
        "",
        "## What is called",
        "",
        *table_lines(
            ("call", "in", "result", "TensorRT", "for RTX"),
            [(*row, *_where_it_fits(row[0], calls, tensorrt, rtx)) for row in call_rows(calls)],
        ),
        "",
        "## What differs, and what follows",
        "",
        "A number behind a name is the enumeration's; *n ways* are overloads.",
        "",
        *table_lines(("what", "members", "what we do"), list(_topics(tensorrt, rtx))),
        "",
        "## All that came or went",
        "",
        f"Members of the classes that are called, if not every version from {first} to {last} has them.",
        "",
        *table_lines(("class", "came or went"), list(_changes(calls, tensorrt))),
        "",
        *PROVIDER,
    ]
    return "\n".join(sections).rstrip() + "\n"


def call_rows(calls: Iterable[Call]) -> list[tuple[str, str]]:
    """Each different call, as it is written, and the files that make it."""
    files: dict[str, set[str]] = {}
    for call in calls:
        files.setdefault(written(call), set()).add(call.place.partition(":")[0])
    return [(f"`{text}`", ", ".join(f"`{name}`" for name in sorted(files[text]))) for text in sorted(files)]


def written(call: Call) -> str:
    """``IBuilderConfig.clear_flag(BuilderFlag)``."""
    if call.way == "read":
        return call.name
    if call.way == "write":
        return f"{call.name} = …"
    given = ", ".join(
        [
            *("…" if kind == tensorrt_calls.UNKNOWN or " " in kind else kind for kind in call.arguments),
            *(f"{name}={kind}" for name, kind in call.keywords),
        ]
    )
    if call.way == "override":
        return f"def {call.name}({given})"
    return f"{call.owner}({given})" if call.way == "new" else f"{call.name}({given})"


def _where_it_fits(
    text: str, calls: Sequence[Call], tensorrt: Sequence[Interface], rtx: Interface
) -> tuple[str, str, str]:
    """What it returns, the versions of TensorRT that have it, and whether TensorRT for RTX does."""
    same = [call for call in calls if f"`{written(call)}`" == text]
    asked = same[0].package == "tensorrt"
    fitting = [offered for offered in tensorrt if not any(tensorrt_held.problems(call, offered) for call in same)]
    for_rtx = "no" if any(tensorrt_held.problems(call, rtx) for call in same) else "yes"
    result = tensorrt_held.result_of(same[0], tensorrt[-1] if asked else rtx)
    return f"`{result}`" if result else "", ranges(fitting, tensorrt) if asked else "not called", for_rtx


def ranges(some: Sequence[Interface], every: Sequence[Interface]) -> str:
    """``10.3–10.16, 11.2``; a dash for none."""
    parts: list[list[str]] = []
    before = False
    for offered in every:
        inside = offered in some
        if inside and before:
            parts[-1].append(offered.name)
        elif inside:
            parts.append([offered.name])
        before = inside
    return ", ".join(part[0] if len(part) == 1 else f"{part[0]}–{part[-1]}" for part in parts) or "–"


def _topics(tensorrt: Sequence[Interface], rtx: Interface) -> Iterator[tuple[str, str, str]]:
    for title, names, words in TOPICS:
        yield title, "; ".join(f"`{name}` {_presence(name, tensorrt, rtx)}" for name in names), words


def _presence(name: str, tensorrt: Sequence[Interface], rtx: Interface) -> str:
    """Versions that have a member, apart where its number or the ways to call it change."""
    states: dict[str, list[Interface]] = {}
    owner, _, member = name.rpartition(".")
    for offered in tensorrt:
        described = tensorrt_held.member_of(owner, member, offered)
        if described is not None:
            ways = len(described["signatures"])
            number = described["number"]
            words = f"{number}" if number is not None else f"{ways} ways" if ways > 1 else "1 way"
            states.setdefault(words, []).append(offered)
    in_rtx = "" if tensorrt_held.member_of(owner, member, rtx) is None else ", RTX"
    if len(states) < 2:
        some = next(iter(states.values()), [])
        return f"{ranges(some, tensorrt)}{in_rtx}" if some else f"none{in_rtx}"
    return ", ".join(f"{ranges(some, tensorrt)} ({words})" for words, some in states.items()) + in_rtx


def _changes(calls: Sequence[Call], tensorrt: Sequence[Interface]) -> Iterator[tuple[str, str]]:
    for owner in sorted({call.owner for call in calls if call.owner in tensorrt[-1].classes}):
        members = [offered.classes[owner]["members"] for offered in tensorrt]
        partly = sorted(
            name
            for name in set().union(*members)
            if not name.startswith("_") and not all(name in having for having in members)
        )
        if partly:
            some = {name: [o for o, having in zip(tensorrt, members, strict=True) if name in having] for name in partly}
            yield f"`{owner}`", "; ".join(f"`{name}` {ranges(some[name], tensorrt)}" for name in partly)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        PAGE.write_text(page(nvidia_bindings.interfaces(Path(folder))), encoding="utf-8")
