"""The process that draws charts: one JSON request a line on stdin, one JSON reply a line on stdout; a leaf.

vl-convert runs a JavaScript engine in this process, which ends it where memory is short or a text upsets it.
"""

import json
import os
import sys
from typing import Any

import vl_convert


def main() -> None:
    """Answer requests until stdin ends."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # the engine's own words are no reply
    for request in sys.stdin:
        print(json.dumps(_answer(json.loads(request))), file=replies, flush=True)


def _answer(request: dict[str, Any]) -> dict[str, str]:
    try:
        if "script" in request:
            return {"text": vl_convert.javascript_bundle(request["script"])}
        return {"text": vl_convert.vegalite_to_svg(request["chart"], config=request["config"])}
    except Exception as error:  # noqa: BLE001 (whatever the engine says of a chart)
        return {"error": " ".join(str(error).split())[:200] or type(error).__name__}


if __name__ == "__main__":
    main()
