"""Every kernel file says what its dims are: a legend at its top, and suffixes such as `x_NC` where an array is first bound."""

import ast
import re

import pytest

from registry import discover
from registry.paths import ROOT

TABLE = discover()
VARIANTS = [v for known in TABLE.variants.values() for v in known.values() if not v.is_reference]
PYTHON = sorted((ROOT / "kernels").rglob("*.py"))
SPECS = {op.family: ROOT / "kernels" / op.family / "spec.py" for op in TABLE.ops.values()}
SOURCES = [v.path.with_suffix(".cu") for v in VARIANTS if v.path.with_suffix(".cu").exists()]
SUFFIX = re.compile(r"[a-z]\w*?_(?P<axes>[A-Z0-9]*[A-Z][A-Z0-9]*)")


def head_of(text):
    """Return the docstring of a Python file, or the comment at the top of a CUDA file, as one line."""
    comment = re.match(r"(?://[^\n]*\n)*", text)[0]
    return " ".join((comment.replace("//", " ") or ast.get_docstring(ast.parse(text)) or "").split())


def legend_of(text):
    """Return the meaning of each dim letter in the legend of a file; empty without a legend."""
    paragraph = re.search(r"\bDims: (.*?)\.(?: |$)", head_of(text))
    entries = re.split(r", (?=[A-Z] = )", paragraph[1]) if paragraph else []
    return dict(entry.split(" = ", 1) for entry in entries)


def suffixes_of(text):
    """Return the names of a Python file that have a suffix of dims, each with its axes."""
    tree = ast.parse(text)
    names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)} | {
        n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)
    }
    return {name: match["axes"] for name in names if (match := SUFFIX.fullmatch(name))}


def bare_arrays(variant):
    """Return the parameters that receive an array of the op from the variant's function, and have no suffix of its axes."""
    functions = {n.name: n for n in ast.parse(variant.path.read_text()).body if isinstance(n, ast.FunctionDef)}
    axes = {a.name: len(a.dims.split()) for a in variant.op.arguments if a.dims != "1"}
    calls = [n for n in ast.walk(functions[variant.name]) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
    bound = [
        (parameter.arg, axes[given.id])
        for call in calls
        if call.func.id in functions
        for parameter, given in zip(functions[call.func.id].args.args, call.args, strict=False)
        if isinstance(given, ast.Name) and given.id in axes
    ]
    return [name for name, count in bound if not (match := SUFFIX.fullmatch(name)) or len(match["axes"]) != count]


@pytest.mark.parametrize("path", SPECS.values(), ids=SPECS.keys())
def test_a_spec_explains_the_dims_of_its_ops(path):
    dims = {dim for op in TABLE.ops.values() if SPECS[op.family] == path for dim in op.domain}
    assert dims <= set(legend_of(path.read_text()))


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_a_variant_has_a_legend_with_the_words_of_its_spec(variant):
    spec = legend_of(SPECS[variant.op.family].read_text())
    for path in (variant.path, variant.path.with_suffix(".cu")):
        if path.exists():
            legend = legend_of(path.read_text())
            assert set(legend) & set(variant.op.domain), (
                f"{path}: write 'Dims: N = rows, ...' at the end of its first docstring"
            )
            assert {letter: legend[letter] for letter in legend if letter in spec} == {k: spec[k] for k in legend if k in spec}


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_head_of_a_cuda_source_names_the_shape_of_each_array(path):
    (variant,) = (v for v in VARIANTS if v.path == path.with_suffix(".py"))
    head = head_of(path.read_text())
    assert [a.name for a in variant.op.arguments if not re.search(rf"\b{a.name}\b[\w, ]* \([\w, ]+\)", head)] == []


def array_parameters(text):
    """Return the largest number of pointers that one function of a CUDA file takes."""
    return max((p.count("*") for p in re.findall(r"\w+\(((?:[^()]|\(&\w*\))*)\)(?: const)? \{", text)), default=0)


@pytest.mark.parametrize("path", sorted((ROOT / "kernels" / "cuda").glob("*.cuh")), ids=lambda p: p.name)
def test_a_header_with_more_than_two_arrays_has_a_legend(path):
    text = path.read_text()
    assert array_parameters(text) <= 2 or legend_of(text)


@pytest.mark.parametrize("path", PYTHON, ids=lambda p: str(p.relative_to(ROOT)))
def test_each_letter_of_a_suffix_is_in_the_legend(path):
    text = path.read_text()
    legend = legend_of(text)
    assert {n: axes for n, axes in suffixes_of(text).items() if not set(axes) - set("0123456789") <= set(legend)} == {}


@pytest.mark.parametrize("variant", [v for v in VARIANTS if v.backend != "cuda"], ids=str)
def test_an_array_has_its_suffix_where_a_function_of_the_variant_receives_it(variant):
    assert bare_arrays(variant) == []


def test_legends_and_suffixes_are_read():
    text = '"""Add.\n\nDims: N = rows (a x b), W = 3 x N,\n    C = channels. More.\n"""\nx_NC = dy_2C = THREADS = small_x = 1\n'
    assert legend_of(text) == {"N": "rows (a x b)", "W": "3 x N", "C": "channels"}
    assert suffixes_of(text) == {"x_NC": "NC", "dy_2C": "2C"}
    assert legend_of("// y = x.\n// Dims: N = rows.\n// x (N).\n#include <a>\n// Dims: K = no.\n") == {"N": "rows"}
    assert legend_of('"""Add."""\n') == {}
    assert array_parameters("void f(const float* a, T (&b)[2], int* c,\n float* d) {\n g(*a);\n}\nint h(int* p) {") == 3
