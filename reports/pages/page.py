"""One self-contained HTML page: a template with its styles, scripts and data, and a content security policy."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from vitdeploy._version import __version__
from vitdeploy.reports import shown_text


def render(
    template: str, *, styles: Sequence[str], scripts: Sequence[str], data: Mapping[str, Any], **values: Any
) -> bytes:
    """The page; every text in it is escaped, and nothing is fetched.

    Args:
        template: one of ``templates/`` that extends ``page.html.j2``.
        styles: names of style sheets there, in order.
        scripts: texts of our own scripts and of the chart library.
        data: what the scripts read.
        values: what the template reads.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("vitdeploy.reports"),
        autoescape=True,
        finalize=_shown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    rendered = environment.get_template(template).render(
        style=_Own("".join(map(asset, styles))),
        scripts=list(map(_Own, scripts)),
        data=_script_json(data),
        policy=_policy(scripts),
        **{"undrawn": None, **values},
        version=__version__,
    )
    return rendered.encode()


class _Own(Markup):
    """Our own styles and scripts, and the chart library's: they stand in the page as they are."""


def _shown(value: Any) -> Any:
    """What a template is about to write: every text of it without anything hidden."""
    if isinstance(value, str) and not isinstance(value, _Own):
        return type(value)(shown_text.lines(value))
    return value


def asset(name: str) -> str:
    """A style sheet or script of ``templates/``."""
    return resources.files("vitdeploy.reports").joinpath("templates", name).read_text(encoding="utf-8")


def data_address(kind: str, data: bytes) -> str:
    """A picture as the address of an ``img`` element; ``kind``: ``svg+xml`` or ``jpeg``."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _policy(scripts: Sequence[str]) -> str:
    """The content security policy: these scripts by digest, styles and pictures of the page, and nothing else.

    Source: https://www.w3.org/TR/CSP3/ ; charts set styles on their elements, so styles may stand inline.
    """
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _script_json(data: Mapping[str, Any]) -> Markup:
    """``data`` as JSON that cannot end the script element it stands in.

    Source: https://html.spec.whatwg.org/multipage/scripting.html#restrictions-for-contents-of-script-elements
    """
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
    escaped = text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    return Markup(escaped)  # noqa: S704 (nothing in it can be markup now)
