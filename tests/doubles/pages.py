"""Pages as a browser reads them, and a run whose every text is hostile."""

import html.parser

import msgspec

from tests.doubles import make_run
from vitdeploy.results.record import Reason, Run

HOSTILE = "</script><img src=x onerror=alert(1)>&amp;`|\"'=*_[x](http://evil.example)\n<!--{{7*7}}@user ${1}"


def hostile_run() -> Run:
    reason = Reason(code=HOSTILE, message=HOSTILE, hint=HOSTILE)
    rows = [
        make_run.row(HOSTILE, HOSTILE, 5.0, seed=1, reasons=[reason], weights=f"random:{HOSTILE}", memory=HOSTILE),
        make_run.row(HOSTILE, "onnx-fp32", 5.0, seed=2, prompts=HOSTILE),
        make_run.failed(HOSTILE, HOSTILE, HOSTILE),
    ]
    made = make_run.run(*rows, name=HOSTILE, facts={"cpu": HOSTILE, HOSTILE: HOSTILE, "packages": {HOSTILE: HOSTILE}})
    return msgspec.structs.replace(made, started_utc=HOSTILE)


class Page(html.parser.HTMLParser):
    """Elements, their attributes and the texts of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self._within = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self._within = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._within = ""

    def handle_data(self, data: str) -> None:
        if self._within == "script":
            self.scripts[-1] += data
        elif self._within != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())
