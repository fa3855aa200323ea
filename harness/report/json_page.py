"""The tables of docs/json.md: exit codes, kinds of errors, and the fields of each document, from their declarations."""

from __future__ import annotations

import inspect
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

from registry.documents import DOCUMENTS, Common, Failed
from registry.errors import ERROR_KINDS, EXIT_CODES

__all__ = ["document_tables"]

WORDS = {str: "text", int: "integer", float: "number", bool: "true or false", NoneType: "null", Any: "any"}


def _bare(declared: Any) -> Any:  # noqa: ANN401 (a type)
    return get_args(declared)[0] if get_origin(declared) is Annotated else declared


def _parts(declared: Any) -> list[type]:  # noqa: ANN401 (a type)
    """Return the declared objects in a type: of a list, of an object's values, or of a choice."""
    declared = _bare(declared)
    if is_typeddict(declared):
        return [declared]
    return [part for inner in get_args(declared) if get_origin(declared) is not Literal for part in _parts(inner)]


def _name(declared: type) -> str:
    return declared.__name__.removesuffix("Fields")


def _words(declared: Any) -> str:  # noqa: ANN401 (a type)
    """Return a type in words."""
    declared = _bare(declared)
    origin, inner = get_origin(declared), get_args(declared)
    if is_typeddict(declared):
        return f"[{_name(declared)}](#{_name(declared).lower()})"
    if origin is list:
        return f"list of {_words(inner[0])}"
    if origin is dict:
        return f"object of {_words(inner[1])}"
    if origin in {Union, UnionType}:
        return " or ".join(map(_words, inner))
    if origin is Literal:
        return ", ".join(f"`{word}`" for word in inner)
    return WORDS[declared]


def _table(declared: type) -> list[str]:
    rows = ["| field | type | meaning |", "| --- | --- | --- |"]
    for name, hint in get_type_hints(declared, include_extras=True).items():
        meaning = get_args(hint)[-1]
        rows.append(f"| `{name}` | {_words(hint)} | {meaning} |".replace("``", '`""`'))
    return rows


def _section(heading: str, declared: type) -> list[str]:
    return [f"### {heading}", "", inspect.getdoc(declared) or "", "", *_table(declared), ""]


def _objects(documents: list[type]) -> list[type]:
    """Return the objects that documents contain, each once, in the order of their first use."""
    found: list[type] = []
    waiting = [
        part
        for document in documents
        for hint in get_type_hints(document, include_extras=True).values()
        for part in _parts(hint)
    ]
    while waiting:
        one = waiting.pop(0)
        if one not in found:
            found.append(one)
            waiting = [p for hint in get_type_hints(one, include_extras=True).values() for p in _parts(hint)] + waiting
    return found


def document_tables() -> str:
    """Return the generated part of docs/json.md."""
    lines = ["## Exit codes", "", "| code | meaning |", "| --- | --- |"]
    lines += [f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items()]
    lines += ["", "## Errors", "", "| kind | exit code | meaning |", "| --- | --- | --- |"]
    lines += [f"| `{kind.value}` | {code} | {meaning} |" for kind, (code, meaning) in ERROR_KINDS.items()]
    lines += ["", "## Documents", "", *_section("Fields of every document", Common), *_section("A command that failed", Failed)]
    by_document: dict[type, list[str]] = {}
    for name, document in DOCUMENTS.items():
        by_document.setdefault(document, []).append(f"`python -m {name}`")
    for document, names in by_document.items():
        lines += _section(" and ".join(names), document)
    lines += ["## Objects", ""]
    for one in _objects([Failed, *by_document]):
        lines += _section(_name(one), one)
    return "\n".join(lines).rstrip()
