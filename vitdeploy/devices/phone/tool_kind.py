"""Which of Google's two tools named ``benchmark_model`` a file is: the tool itself lists the flags that it knows.

Source: LiteRT, ``Flags::Usage`` in tflite/tools/command_line_flags.cc: a value that is no number makes either tool
print all of its flags, and end without touching a model.
"""

import re
from typing import Literal

from vitdeploy.errors import Impossible

ToolKind = Literal["interpreter", "compiled-model"]
"""``tflite/tools/benchmark:benchmark_model`` or ``litert/tools:benchmark_model``."""

LIMIT_S = 30.0
"""Of the usage. Source: a choice; the tool loads nothing for it."""

_FLAG = re.compile(r"^\s*--(?P<name>[A-Za-z0-9_-]+)=", re.MULTILINE)
_ONLY_INTERPRETER = "input_layer_value_files"
_ONLY_COMPILED_MODEL = "use_npu"
_SINCE_THREADS_COUNT = "input_layer_value_range"
"""Before 2.1.0 the CompiledModel tool took ``--num_threads`` and ignored it. Source: LiteRT, v2.0.3 and v2.1.0 of
litert/tools/benchmark_litert_model.cc; 2.1.3 is the first version with this flag."""


def usage_command(tool: str) -> list[str]:
    """The words that make a tool list its flags."""
    return [tool, "--num_runs=?"]


def kind_of(usage: str) -> ToolKind:
    """Which tool printed this. One that lists no flag of either counts as the Interpreter tool, whose output decides.

    Raises:
        Impossible: it is a CompiledModel tool that may ignore the number of threads.
    """
    flags = {match["name"] for match in _FLAG.finditer(usage)}
    if _ONLY_INTERPRETER in flags or _ONLY_COMPILED_MODEL not in flags:
        return "interpreter"
    if _SINCE_THREADS_COUNT not in flags:
        raise Impossible(
            "this build of LiteRT's CompiledModel benchmark_model is older than 2.1.3 and may ignore the threads",
            "Use version 2.1.3 or later; docs/phones.md says where it is from.",
        )
    return "compiled-model"
