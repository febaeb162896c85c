"""TFLite's table of operator times, as LiteRT's profiler and every version of ``benchmark_model`` write it.

Source: LiteRT, tflite/profiling/profile_summary_formatter.cc, and TensorFlow's stats_calculator.cc before it: columns
come and go between versions, so the header decides which is which.
"""

import re

from vitdeploy.errors import ToolchainFailed

_SECTION = re.compile(r"^\s*=+ (?P<title>[^=]+?) =+\s*$")
_HEADER = re.compile(r"\[([^\]]+)\]")
_REGULAR = "Operator-wise Profiling Info for Regular Benchmark Runs"
"""After this, ``benchmark_model`` tells of the inferences; before it, of its own start."""

_DELEGATE = "Delegate/"
"""How an operator inside of a delegate's part begins: in LiteRT's table its type, in the tool's its name."""

_WRAPPERS = frozenset({"TfLiteXNNPackDelegate", "DELEGATE"})
"""A delegate's whole part, beside the operators in it: the same time twice."""


_NO_OPERATORS = frozenset({"AllocateTensors"})
"""Rows of what runs once a process. Source: LiteRT's CompiledModel tool with ``--use_profiler``."""


def ns_by_type(text: str, *, inferences: int = 1) -> dict[str, int]:
    """Operator type → nanoseconds of one inference, in the order in which they ran first; empty without a table.

    Args:
        inferences: how many the table takes for one: LiteRT's profiler adds up all, ``benchmark_model`` divides.

    Raises:
        ToolchainFailed: a row is not what its header says.
    """
    times_ms: dict[str, float] = {}
    opened = inside = False
    columns: list[str] | None = None
    for line in text.partition(_REGULAR)[2].splitlines() or text.splitlines():
        if section := _SECTION.match(line):
            inside, columns = section["title"] == "Run Order", None
        elif not inside or not line.strip():
            inside = inside and bool(line.strip() or columns is None)
        elif columns is None:
            columns = _HEADER.findall(line)
        else:
            kind, numbers, name = _row(line, columns)
            opened = opened or _DELEGATE in (kind[: len(_DELEGATE)], name[: len(_DELEGATE)])
            kind = kind.removeprefix(_DELEGATE)
            # An operator that ran less often than once an inference is called 0 times by old versions.
            calls = max(1.0, numbers["times called"])
            times_ms[kind] = times_ms.get(kind, 0.0) + numbers["avg ms"] * calls / inferences
    left_out = _NO_OPERATORS | _WRAPPERS if opened else _NO_OPERATORS
    return {kind: round(1e6 * ms) for kind, ms in times_ms.items() if kind not in left_out}


def _row(line: str, columns: list[str]) -> tuple[str, dict[str, float], str]:
    """The operator's type, which may hold spaces, the numbers after it by their column's name, and its own name."""
    names = [name for name in columns if name not in ("node type", "Name")]
    row = re.fullmatch(
        rf"\s*(?P<kind>\S.*?)(?P<numbers>(?:\s+-?[0-9.]+%?){{{len(names)}}})(?:\s+(?P<name>\S.*?))?\s*", line
    )
    if row is None or not {"avg ms", "times called"} <= set(names):
        raise ToolchainFailed(f"an operator table's row cannot be read: {line.strip()[:120]!r}", "Report it.")
    values = [float(word.rstrip("%")) for word in row["numbers"].split()]
    return row["kind"], dict(zip(names, values, strict=True)), row["name"] or ""
