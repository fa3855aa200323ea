"""Public docstrings pass numpydoc's own validator, in what this project takes from it.

A parameter is documented where there is more to say than its name and annotation, so PR01 (not all documented) is no
error here; to document one that does not exist, or in another order than the signature's, is.
"""

import importlib
import inspect
import pkgutil

import pytest
from numpydoc.validate import ERROR_MSGS, validate

ROOMS = ("simulator", "registry", "harness", "trainer")
LEFT_OUT = {
    "GL01": "the summary starts on the first line",
    "GL08": "ruff's D1 rules say what needs a docstring",
    "ES01": "a good sentence needs no extended summary",
    "EX01": "commands stand in the README, examples in the tests",
    "PR01": "what the name and the annotation say is not said again",
    "PR04": "types stand in annotations where a docstring has nothing to add",
    "PR07": "a name, its type and its section may say it all",
    "PR08": "a description may begin with a literal",
    "PR09": "the same, at the end",
    "RT01": "the first sentence says what is returned",
    "RT03": "the same",
    "SA01": "links are made by imports",
    "SS06": "a summary may take two lines",
    "YD01": "the same as RT01 for generators",
}
HELD = set(ERROR_MSGS) - set(LEFT_OUT)


def _modules():
    for room in ROOMS:
        package = importlib.import_module(room)
        yield package
        for found in pkgutil.walk_packages(package.__path__, f"{room}."):
            if not found.name.endswith("__main__"):
                yield importlib.import_module(found.name)


def _public():
    for module in _modules():
        exported = {name: getattr(module, name) for name in getattr(module, "__all__", ())}
        own = {name: thing for name, thing in exported.items() if getattr(thing, "__module__", "") == module.__name__}
        for name, thing in own.items():
            if inspect.isfunction(thing) or inspect.isclass(thing):
                yield f"{module.__name__}.{name}"
            if inspect.isclass(thing):
                methods = (n for n, m in vars(thing).items() if inspect.isfunction(m) and not n.startswith("_"))
                yield from (f"{module.__name__}.{name}.{method}" for method in methods)


@pytest.mark.parametrize("name", sorted(set(_public())))
def test_a_public_docstring_is_numpydoc(name):
    wrong = [f"{code}: {text}" for code, text in validate(name)["errors"] if code in HELD]
    assert not wrong, f"{name}: {'; '.join(wrong)}"
