"""Compare a document of ``--json`` with its declaration in `registry.documents`."""

import json
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

from registry.documents import DOCUMENTS, Common, Failed


def differences(value, declared, place="document"):
    """Return where and how a value differs from its declared type, one text for each difference."""
    origin, inner = get_origin(declared), get_args(declared)
    if is_typeddict(declared):
        return _of_fields(value, declared, place)
    if origin in {Union, UnionType}:
        found = [differences(value, option, place) for option in inner]
        return [] if [] in found else max(found, key=len)
    if origin in {list, dict} and isinstance(value, origin):
        parts = value.items() if origin is dict else enumerate(value)
        return [text for key, part in parts for text in differences(part, inner[-1], f"{place}[{key!r}]")]
    if origin is Literal:
        is_right = value in inner
    elif declared is Any:
        is_right = True
    else:
        kinds = {float: (int, float)}.get(declared, origin or declared)
        is_right = isinstance(value, kinds) and (declared is bool or not isinstance(value, bool))
    return [] if is_right else [f"{place}: {value!r} is not {declared}"]


def _of_fields(value, declared, place):
    if not isinstance(value, dict):
        return [f"{place}: {value!r} is no object"]
    hints = get_type_hints(declared)
    found = [f"{place}: {key!r} is missing" for key in hints.keys() - value.keys()]
    found += [f"{place}: {key!r} is not declared" for key in value.keys() - hints.keys()]
    return found + [
        text for key in hints.keys() & value.keys() for text in differences(value[key], hints[key], f"{place}.{key}")
    ]


def document_of(text, name, code):
    """Return the one document on standard output, after comparing it with the declaration of `name` and the exit code."""
    assert text.count("\n") == 1, text
    document = json.loads(text)
    common = {key: document.pop(key, None) for key in get_type_hints(Common)}
    assert common == {"schema": 1, "command": name.split()[0], "exit_code": code}, common
    found = differences(document, Failed if "error" in document else DOCUMENTS[name])
    assert not found, "\n".join(found)
    return document
