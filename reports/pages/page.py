"""What all pages of ours need: a policy that lets only their own scripts run, and data that cannot end its element."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup


def policy(scripts: Sequence[str]) -> str:
    """The content security policy: these scripts by digest, styles and pictures of the page, and nothing else.

    Source: https://www.w3.org/TR/CSP3/ ; charts set styles on their elements, so styles may stand inline.
    """
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def script_json(data: Mapping[str, Any]) -> Markup:
    """``data`` as JSON that cannot end the script element it stands in.

    Source: https://html.spec.whatwg.org/multipage/scripting.html#restrictions-for-contents-of-script-elements
    """
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
    escaped = text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    return Markup(escaped)  # noqa: S704 (nothing in it can be markup now)
