"""docs/schemas.md, made from the types of the documents: every field with its type and its meaning.

``python -m tests.schemas_page`` writes it anew.
"""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, cast

import msgspec

from tests.commands_page import table_lines
from tests.schema_kinds import FOLDER, KINDS
from tests.schema_words import COMMON_WORDS

PAGE = Path(__file__).parent.parent / "docs" / "schemas.md"

WRITERS = {
    "run": "`bench`, `duel`, `attention`, `reproduce`, `sweep`, `calibrate`",
    "manifest": "`export`: `manifest.json` beside each model file",
    "evaluation": "`eval`",
    "acceptance": "`accept`: beside each baseline",
    "calibration": "`calibrate`",
    "report": "`report --format json`",
    "output-error": "every command with `--json` that fails",
    "output-plan": "every command with `--dry-run --json`",
}
"""Kind of document → what writes it; of the others the command that the name says."""

PLAIN = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "true or false",
    "array": "list",
    "object": "object",
    "null": "null",
}


def page() -> str:
    """The document."""
    described: dict[str, str] = {}
    body: list[str] = []
    for name in sorted(KINDS, key=lambda name: (name.startswith("output-"), name)):
        body += [*_document(name, described), ""]
    lines = [
        "# Schemas, field by field",
        "",
        "This page answers what each field of each JSON document means. It is made from the types of the documents by",
        "`python -m tests.schemas_page`. The JSON Schemas themselves ship in",
        "[`vitdeploy/schemas`](../vitdeploy/schemas) and in the installed package.",
        "",
        "- Units are in the names: `_ns`, `_ms`, `_bytes`, `_hz`, `_mw`, `_c`. A field that has a default may be",
        "  missing.",
        "- The number in a file's name is its schema, which the document repeats in `schema`. Every past one still",
        "  loads; a newer one ends with exit 9.",
        "- Files that vitdeploy reads again refuse unknown fields (exit 9 with the path of the field).",
        "",
        *body,
    ]
    return "\n".join(lines).rstrip() + "\n"


def _document(name: str, described: dict[str, str]) -> Iterator[str]:
    schema = cast("dict[str, Any]", msgspec.json.schema(KINDS[name]))
    definitions: dict[str, Any] = schema.get("$defs", {})
    kind = name.partition("-1.")[0].removesuffix(".json")
    writer = WRITERS.get(kind, f"`{kind.removeprefix('output-').replace('cache-', 'cache ')} --json`")
    yield from (f"## {name}", "", f"[Schema](../vitdeploy/schemas/{name}). Written by {writer}.", "")
    if "$ref" not in schema:
        yield from (f"The document is {_type(schema, name, described, definitions)}.", "")
    docs = _docs_of(KINDS[name])
    own = [title for title in definitions if title not in described or described[title] == name]
    for title in _in_order(schema, definitions):
        if title in own:
            described[title] = name
            yield from _object(title, definitions[title], docs.get(title, {}), name, described, definitions)


def _in_order(schema: dict[str, Any], definitions: dict[str, Any]) -> list[str]:
    """Names of the definitions, the document's own first, the others as they are met."""
    order: list[str] = []
    waiting = _references(schema, skip="$defs")
    while waiting:
        title = waiting.pop(0)
        if title not in order:
            order.append(title)
            waiting += _references(definitions[title])
    return order


def _references(part: Any, skip: str = "") -> list[str]:
    if isinstance(part, list):
        return [title for inner in cast("list[Any]", part) for title in _references(inner)]
    if not isinstance(part, dict):
        return []
    plain = cast("dict[str, Any]", part)
    own = [plain["$ref"].rpartition("/")[2]] if isinstance(plain.get("$ref"), str) else []
    return own + [title for key, inner in plain.items() if key not in (skip, "$ref") for title in _references(inner)]


def _object(
    title: str,
    definition: dict[str, Any],
    docs: dict[str, str],
    name: str,
    described: dict[str, str],
    definitions: dict[str, Any],
) -> Iterator[str]:
    if "properties" not in definition:
        return
    yield from (f"### {title}", "")
    if definition.get("description"):
        yield from (_one_line(definition["description"]), "")
    required = set(definition.get("required", ()))
    rows = [
        (
            f"`{field}`",
            _type(part, name, described, definitions) + _default(part, field in required),
            docs.get(field) or COMMON_WORDS.get(field, ""),
        )
        for field, part in definition["properties"].items()
    ]
    yield from (*table_lines(("field", "type", "meaning"), rows), "")


def _default(part: dict[str, Any], required: bool) -> str:
    if required or "default" not in part:
        return ""
    value = part["default"]
    words = (
        {None: "null", "": '""', True: "true", False: "false"}.get(value)
        if not isinstance(value, list | dict)
        else None
    )
    return f"; default {words if words is not None else str(value).replace(chr(39), chr(34))}"


def _type(part: dict[str, Any], name: str, described: dict[str, str], definitions: dict[str, Any]) -> str:
    """The type of a field in words."""

    def inner(value: Any) -> str:
        return _type(value, name, described, definitions)

    words = PLAIN.get(part.get("type", ""), "any value")
    if "$ref" in part:
        title = part["$ref"].rpartition("/")[2]
        described_there = "properties" in definitions.get(title, {})
        words = f"[{title}](#{title.lower()})" if described_there else inner(definitions[title])
    elif "anyOf" in part:
        words = " or ".join(dict.fromkeys(map(inner, part["anyOf"])))
    elif "enum" in part or "const" in part:
        words = ", ".join(f"`{value}`" for value in part.get("enum", [part.get("const")]))
    elif "prefixItems" in part:
        words = "[" + ", ".join(map(inner, part["prefixItems"])) + "]"
    elif part.get("items"):
        words = f"list of {inner(part['items'])}"
    elif isinstance(values := part.get("additionalProperties"), dict) and values:
        words = f"object, name → {inner(values)}"
    return words


@cache
def _docs_of(kind: Any) -> dict[str, dict[str, str]]:
    """Name of a type → field → what is written below it in the source."""
    docs: dict[str, dict[str, str]] = {}
    for found in _classes(msgspec.inspect.type_info(kind), set()):
        fields: dict[str, str] = {}
        for base in reversed(found.__mro__):
            if base.__module__.startswith("vitdeploy."):
                fields |= _field_docs(base)
        docs[found.__name__] = fields
    return docs


def _classes(info: Any, met: set[Any]) -> Iterator[type]:
    """Every class below a type, each once."""
    found = getattr(info, "cls", None)
    if isinstance(found, type) and hasattr(info, "fields"):
        if found in met:
            return
        met.add(found)
        yield found
    for field in getattr(info, "fields", ()):
        yield from _classes(field.type, met)
    for name in ("types", "item_types"):
        for entry in getattr(info, name, ()):
            yield from _classes(entry, met)
    for name in ("item_type", "key_type", "value_type", "type"):
        if (below := getattr(info, name, None)) is not None:
            yield from _classes(below, met)


@cache
def _field_docs(found: type) -> dict[str, str]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(found))).body[0]
    assert isinstance(tree, ast.ClassDef)
    docs: dict[str, str] = {}
    for field, after in zip(tree.body, tree.body[1:], strict=False):
        is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and is_text:
            docs[field.target.id] = _one_line(str(cast("ast.Constant", cast("ast.Expr", after).value).value))
    return docs


def _one_line(text: str) -> str:
    """A docstring's first paragraph in one line."""
    return " ".join(text.partition("\n\n")[0].split()).replace("``", "`")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    assert FOLDER.is_dir()
