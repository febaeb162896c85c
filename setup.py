"""The description of a release: README.md with links that lead somewhere on a package index.

``VITDEPLOY_REPOSITORY`` names the repository that a release is of, as https://github.com/OWNER/vitdeploy; links and
pictures then lead to its files at ``VITDEPLOY_REVISION`` (default: the version's tag). Without it a link keeps its
words alone, because a relative target leads nowhere on an index. Everything else of the package stands in
pyproject.toml.
"""

import os
import re
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent

_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?://|#)([^)\s]+)\)")


def released(text: str, repository: str, revision: str) -> str:
    """``text`` with absolute links; without a repository the words of the links alone."""

    def absolute(match: re.Match[str]) -> str:
        picture, words, target = match.groups()
        if not repository:
            return f"*{words}*" if picture else words
        kind = "raw" if picture else "blob"
        return f"{picture}[{words}]({repository.rstrip('/')}/{kind}/{revision}/{target})"

    return _LINK.sub(absolute, text)


def version() -> str:
    """The version, read without importing the package."""
    source = (ROOT / "vitdeploy" / "_version.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__(?:: \w+)? = "([^"]+)"', source, flags=re.MULTILINE)
    assert found is not None
    return found[1]


if __name__ == "__main__":
    address = os.environ.get("VITDEPLOY_REPOSITORY", "")
    tag = os.environ.get("VITDEPLOY_REVISION", f"v{version()}")
    pages = {"Source": "", "Documentation": f"/blob/{tag}/docs/README.md", "Changelog": f"/blob/{tag}/CHANGELOG.md"}
    setup(
        long_description=released((ROOT / "README.md").read_text(encoding="utf-8"), address, tag),
        long_description_content_type="text/markdown",
        project_urls={name: address.rstrip("/") + page for name, page in pages.items()} if address else {},
    )
