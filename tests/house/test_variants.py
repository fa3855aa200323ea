"""Every variant file holds one idea, told in its docstring, and stands on a rung that exists."""

import ast

import pytest

from registry import discover
from registry.paths import ROOT

TABLE = discover()
VARIANTS = [v for known in TABLE.variants.values() for v in known.values() if not v.is_reference]
FILES = sorted(p for begin in ("numpy", "numba", "cuda") for p in (ROOT / "kernels").glob(f"*/**/{begin}_*.py"))
SIMD = "kernels.simd"


def test_every_file_of_a_family_loads():
    assert [(str(f.path), f.reason) for f in TABLE.unloadable] == []


def test_every_file_registers_one_variant_of_its_own_name():
    assert sorted(str(v.path) for v in VARIANTS) == [str(p) for p in FILES]
    assert [str(v) for v in VARIANTS if v.path.stem != v.name] == []


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_a_variant_stands_in_the_folder_of_its_op(variant):
    folders = variant.path.relative_to(ROOT / "kernels").parts[:-1]
    assert "_".join(folders) == variant.op.name


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_builds_on_names_a_rung_that_exists(variant):
    if base := variant.notes.builds_on:
        family = [op.name for op in TABLE.ops.values() if op.family == variant.op.family]
        rungs = {name for op in family for name in TABLE.variants[op]}
        assert base in rungs | set(TABLE.ops), f"{variant} builds on {base!r}"
        assert base != variant.name or variant.op.name != variant.op.family


@pytest.mark.parametrize("op", [op for op in TABLE.ops.values() if "float32" in op.dtypes], ids=lambda op: op.name)
def test_every_op_in_float32_has_a_naive_rung_on_the_cpu_and_a_faster_one(op):
    known = set(TABLE.variants[op.name])
    assert "numba_naive" in known
    assert len([n for n in known if n.startswith("numba_")]) >= 2


@pytest.mark.parametrize("op", TABLE.ops.values(), ids=lambda op: op.name)
def test_every_op_has_a_naive_cuda_rung_and_a_better_one(op):
    known = set(TABLE.variants[op.name])
    assert "cuda_naive" in known
    assert len([n for n in known if n.startswith("cuda_")]) >= 2


def test_every_cuda_source_belongs_to_a_variant():
    sources = sorted((ROOT / "kernels").glob("*/**/*.cu"))
    assert [s for s in sources if not s.with_suffix(".py").exists()] == []


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_jitted_code_calls_jitted_code_of_its_own_file_and_simd_only(path):
    """Helpers of a variant stay in its file: numba's cache does not notice a change in another file."""
    imported = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ImportFrom) and n.module]
    crossing = [
        alias.name
        for n in imported
        if n.module.startswith("kernels.") and SIMD not in n.module
        for alias in n.names
        if alias.name.startswith("_")
    ]
    assert crossing == []
