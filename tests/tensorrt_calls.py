"""Every call of ours to TensorRT's Python interface, gathered from the source: names, arguments, use of results.

Which object a name holds is known from the annotations of the source (``config: tensorrt.IBuilderConfig``), and from
``trt``, which is the package everywhere; ``rtx`` is TensorRT for RTX. What cannot be followed is `Gathered.lost`.
"""

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).parent.parent
FILES = (
    "exporters/engines/build.py",
    "vitdeploy/runtimes/on_trt.py",
    "vitdeploy/runtimes/profiled_trt.py",
)
"""Where TensorRT is called."""
PACKAGES = {"trt": "tensorrt", "rtx": "tensorrt_rtx"}
"""Name of a module in the source → package."""

Way = Literal["call", "new", "read", "write", "override"]
UNKNOWN = "?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One use of one member."""

    package: str
    owner: str
    """Class, ``ILogger.Severity`` too; empty for a function of the module."""
    member: str
    way: Way
    place: str
    """File and line."""
    arguments: tuple[str, ...] = ()
    """Kinds of what is given by position: a class of TensorRT, a type of Python, or `UNKNOWN`."""
    keywords: tuple[tuple[str, str], ...] = ()
    returns: str | None = None
    """The class that the source says it returns."""
    used_as: str | None = None
    """What Python makes of the result: ``bool``, ``int``, ``bytes``, ``str``, ``iterated``."""

    @property
    def name(self) -> str:
        """``IBuilderConfig.clear_flag``."""
        return f"{self.owner}.{self.member}" if self.owner else self.member


@dataclass(slots=True)
class Gathered:
    """The calls of some source."""

    calls: list[Call] = field(default_factory=list[Call])
    lost: list[str] = field(default_factory=list[str])
    """Results of TensorRT whose members are used without an annotation that says what they are."""
    others: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """Names and places of members of what is not known to be TensorRT's."""


def gather(files: Sequence[str] = FILES) -> Gathered:
    """The calls of files of the project."""
    gathered = Gathered()
    for name in files:
        part = gather_source((ROOT / name).read_text(encoding="utf-8"), name)
        gathered.calls += part.calls
        gathered.lost += part.lost
        gathered.others += part.others
    return gathered


def gather_source(source: str, file: str) -> Gathered:
    """The calls of one file's text."""
    tree = ast.parse(source)
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    reader = _Reader(file=file, parents=parents, attributes=_annotated_attributes(tree), functions=_functions(tree))
    for statement in tree.body:
        reader.block(statement, {})
    return reader.gathered


def classes_in(annotation: ast.expr | None) -> list[str]:
    """Classes of TensorRT in an annotation, in their order; other members of a tuple are `UNKNOWN`."""
    text = "" if annotation is None else ast.unparse(annotation).strip("'\"")
    inner = re.fullmatch(r"tuple\[(.*)\]", text)
    return [
        match.group(1) if (match := re.search(r"\btensorrt\.([\w.]+)", part)) else UNKNOWN
        for part in (inner.group(1).split(",") if inner else [text])
    ]


def _annotated_attributes(tree: ast.AST) -> dict[str, str]:
    """Attribute → class, where a class or ``self.x: …`` says it."""
    attributes: dict[str, str] = {}
    for node in ast.walk(tree):
        bodies = node.body if isinstance(node, ast.ClassDef) else [node]
        for entry in bodies:
            if isinstance(entry, ast.AnnAssign) and (kind := classes_in(entry.annotation)[0]) != UNKNOWN:
                if isinstance(entry.target, ast.Attribute):
                    attributes[entry.target.attr] = kind
                elif isinstance(node, ast.ClassDef) and isinstance(entry.target, ast.Name):
                    attributes[entry.target.id] = kind
    return attributes


def _functions(tree: ast.AST) -> dict[str, list[str]]:
    """Function of the file → classes that it returns."""
    return {node.name: classes_in(node.returns) for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@dataclass(slots=True)
class _Reader:
    file: str
    parents: dict[ast.AST, ast.AST]
    attributes: dict[str, str]
    functions: dict[str, list[str]]
    gathered: Gathered = field(default_factory=Gathered)
    package: str = "tensorrt"

    def block(self, node: ast.AST, names: dict[str, str]) -> None:
        """Read a statement or an expression with what its names are known to hold."""
        if isinstance(node, ast.FunctionDef):
            self._function(node, names)
            return
        if isinstance(node, ast.ClassDef):
            self._class(node, names)
        if isinstance(node, ast.AnnAssign | ast.Assign):
            self._assigned(node, names)
        if isinstance(node, ast.Attribute):
            self._attribute(node, names)
        for child in ast.iter_child_nodes(node):
            self.block(child, names)

    def _function(self, node: ast.FunctionDef, names: dict[str, str]) -> None:
        before, inner = self.package, dict(names)
        parameters = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        for parameter in parameters:
            inner[parameter.arg] = _kind_of_annotation(parameter.annotation)
            self.package = PACKAGES.get(parameter.arg, self.package)
        for child in node.body:
            self.block(child, inner)
        self.package = before

    def _class(self, node: ast.ClassDef, names: dict[str, str]) -> None:
        for base in node.bases:
            owner = self.kind(base, names)
            if owner.startswith("type:"):
                for method in node.body:
                    if isinstance(method, ast.FunctionDef) and not method.name.startswith("_"):
                        arguments = tuple(UNKNOWN for _ in method.args.args[1:])
                        self._add(owner[5:], method.name, "override", method, arguments=arguments)

    def _assigned(self, node: ast.AnnAssign | ast.Assign, names: dict[str, str]) -> None:
        if isinstance(node, ast.AnnAssign):
            if isinstance(node.target, ast.Name):
                names[node.target.id] = _kind_of_annotation(node.annotation)
            return
        (target, *_), kinds = node.targets, self._kinds_of_result(node.value, names)
        targets = target.elts if isinstance(target, ast.Tuple) else [target]
        for place, entry in enumerate(targets):
            if isinstance(entry, ast.Name):
                names[entry.id] = kinds[place] if len(kinds) == len(targets) else UNKNOWN

    def _kinds_of_result(self, value: ast.expr, names: dict[str, str]) -> list[str]:
        if isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
            return self.functions.get(value.func.id) or [self.kind(value, names)]
        if isinstance(value, ast.Tuple):
            return [self.kind(entry, names) for entry in value.elts]
        return [self.kind(value, names)]

    def kind(self, node: ast.expr, names: dict[str, str]) -> str:
        """What an expression is: ``type:Builder``, ``Builder``, ``str``, ``result of …``, or `UNKNOWN`."""
        kind = UNKNOWN
        match node:
            case ast.Name(id=name):
                kind = "module" if name in PACKAGES else names.get(name, UNKNOWN)
            case ast.Constant(value=value) if value is not None:
                kind = type(value).__name__
            case ast.BinOp(left=first, right=second) | ast.IfExp(body=first, orelse=second):
                sides = {self.kind(first, names), self.kind(second, names)}
                kind = sides.pop() if len(sides) == 1 else UNKNOWN
            case ast.Call():
                kind = self._kind_of_call(node, names)
            case ast.Attribute():
                kind = self._kind_of_attribute(node, names)
            case _:
                pass
        return kind

    def _kind_of_call(self, node: ast.Call, names: dict[str, str]) -> str:
        match node.func:
            case ast.Name(id="cast"):
                return _kind_of_annotation(_unquoted(node.args[0]))
            case ast.Name(id="int" | "str" | "bytes" as name):
                return name
            case ast.Name(id=name) if name in self.functions:
                return self.functions[name][0]
            case ast.Attribute(attr="read_bytes"):
                return "bytes"
            case function:
                kind = self.kind(function, names)
        if kind.startswith("type:"):
            return kind.removeprefix("type:")
        return f"result of {kind}" if "." in kind else UNKNOWN

    def _kind_of_attribute(self, node: ast.Attribute, names: dict[str, str]) -> str:
        owner = self.kind(node.value, names)
        if owner == "module":
            return f"type:{node.attr}"
        if owner != UNKNOWN and node.attr.startswith("__"):
            return UNKNOWN
        if owner.startswith("type:"):  # a nested class begins with a capital and goes on; a member is in capitals
            return f"{owner}.{node.attr}" if not node.attr.isupper() and node.attr[0].isupper() else owner[5:]
        if _is_class(owner):
            return f"{owner}.{node.attr}"
        return self.attributes.get(node.attr, UNKNOWN)

    def _attribute(self, node: ast.Attribute, names: dict[str, str]) -> None:
        owner, parent = self.kind(node.value, names), self.parents[node]
        called = isinstance(parent, ast.Call) and parent.func is node
        if owner == UNKNOWN:
            self.gathered.others.append((node.attr, f"{self.file}:{node.lineno}"))
        elif owner.startswith("result of "):
            self.gathered.lost.append(f"{self.file}:{node.lineno}: {node.attr} of the {owner}")
        elif owner == "module":
            if node.attr.startswith("__") or not (called or isinstance(parent, ast.ClassDef)):
                return  # a class on the way to its member
            if node.attr[0].islower():
                self._called("", node.attr, "call", parent, names)
            elif isinstance(parent, ast.Call):
                self._called(node.attr, "__init__", "new", parent, names)
        elif owner.startswith("type:") or _is_class(owner):
            owner = owner.removeprefix("type:")
            if called:
                self._called(owner, node.attr, "call", parent, names)
            elif not (node.attr[0].isupper() and not node.attr.isupper()):
                way: Way = "write" if isinstance(node.ctx, ast.Store) else "read"
                used_as = self._used_as(node) if way == "read" else None
                self._add(owner, node.attr, way, node, used_as=used_as)

    def _called(self, owner: str, member: str, way: Way, node: ast.AST, names: dict[str, str]) -> None:
        assert isinstance(node, ast.Call)
        unbound = way == "call" and member == "__init__"  # ``trt.ILogger.__init__(self)``
        self._add(
            owner,
            member,
            way,
            node,
            arguments=tuple(self.kind(argument, names) for argument in node.args[1 if unbound else 0 :]),
            keywords=tuple((word.arg or "**", self.kind(word.value, names)) for word in node.keywords),
            returns=self._said_to_return(node) if way == "call" else None,
            used_as=self._used_as(node),
        )

    def _said_to_return(self, node: ast.Call) -> str | None:
        parent = self.parents[node]
        if isinstance(parent, ast.Call) and isinstance(parent.func, ast.Name) and parent.func.id == "cast":
            said = parent.args[0]
        elif isinstance(parent, ast.AnnAssign):
            said = parent.annotation
        else:
            return None
        return next((kind for kind in classes_in(_unquoted(said)) if kind != UNKNOWN), None)

    def _used_as(self, node: ast.expr) -> str | None:
        match self.parents[node]:
            case ast.Call(func=ast.Name(id="range")):
                return "int"
            case ast.Call(func=ast.Name(id="int" | "str" | "bytes" | "tuple" | "list" as name)):
                return "iterated" if name in ("tuple", "list") else name
            case ast.UnaryOp(op=ast.Not()) | ast.BoolOp():
                return "bool"
            case ast.If(test=test) if test is node:
                return "bool"
            case ast.comprehension(iter=over) | ast.For(iter=over) if over is node:
                return "iterated"
            case _:
                return None

    def _add(
        self,
        owner: str,
        member: str,
        way: Way,
        node: ast.expr | ast.FunctionDef,
        *,
        arguments: tuple[str, ...] = (),
        keywords: tuple[tuple[str, str], ...] = (),
        returns: str | None = None,
        used_as: str | None = None,
    ) -> None:
        self.gathered.calls.append(
            Call(
                package=self.package,
                owner=owner,
                member=member,
                way=way,
                place=f"{self.file}:{node.lineno}",
                arguments=arguments,
                keywords=keywords,
                returns=returns,
                used_as=used_as,
            )
        )


def _unquoted(annotation: ast.expr) -> ast.expr:
    """What an annotation in quotes says."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return ast.parse(annotation.value, mode="eval").body
    return annotation


def _is_class(kind: str) -> bool:
    return kind[:1].isupper() and "." not in kind


def _kind_of_annotation(annotation: ast.expr | None) -> str:
    kind = classes_in(annotation)[0]
    if kind == UNKNOWN and isinstance(annotation, ast.Name) and annotation.id in ("str", "bytes", "int", "bool"):
        return annotation.id
    return kind
