"""Every CUDA source compiles with NVIDIA's compiler, and its `Costs:` line names spills and a low occupancy."""

import ast
import re

import pytest

from harness.cuda.builds import builds_of
from harness.cuda.nvrtc import NvrtcError, compile_cuda, unavailable
from harness.cuda.resources import LIMITS, occupancy, read_resources
from registry.paths import ROOT
from registry.table import discover
from registry.variant import read_notes

KERNELS = ROOT / "kernels"
SOURCES = sorted(KERNELS.rglob("*.cu"))
VARIANTS = {v.path.with_suffix(".cu"): v for shelf in discover().variants.values() for v in shelf.values()}
BUILDS = {
    f"{source.relative_to(KERNELS)} {dtype} {number}": (source, options)
    for source in SOURCES
    for dtype in VARIANTS[source].dtypes
    for number, options in enumerate(builds_of(VARIANTS[source], dtype))
}
FEW = 0.25  # an occupancy below this share must be named
TENSOR_CORES = re.compile(r"\b(mma\.sync|wmma\.mma)\b")

needs_nvrtc = pytest.mark.skipif(bool(unavailable()), reason=unavailable() or "NVRTC is there")
each_source = pytest.mark.parametrize("source", SOURCES, ids=lambda p: str(p.relative_to(KERNELS)))
each_build = pytest.mark.parametrize(("source", "options"), BUILDS.values(), ids=BUILDS)
each_architecture = pytest.mark.parametrize("architecture", LIMITS)


def costs_of(source):
    """Return the Costs: paragraph of the variant beside a source."""
    variant = source.with_suffix(".py")
    return read_notes(ast.get_docstring(ast.parse(variant.read_text())), variant.stem).costs


def kernels_of(source):
    """Return the names of the kernels that a source declares."""
    text = re.sub(r"__launch_bounds__\([^)]*\)", "", source.read_text())
    return set(re.findall(r"__global__\s+void\s+(\w+)\s*\(", text))


def test_there_are_sources():
    assert SOURCES


@each_source
def test_a_source_stands_beside_its_variant(source):
    assert source.name.startswith("cuda_")
    assert source.with_suffix(".py").exists()


def test_a_source_is_built_for_every_dtype_of_its_variant():
    built = {(source, "-DFLOATX=bf16" in options) for source, options in BUILDS.values()}
    taken = {(source, dtype == "bfloat16") for source in SOURCES for dtype in VARIANTS[source].dtypes}
    assert built == taken
    assert any(bf16 for _, bf16 in built)


@needs_nvrtc
@each_architecture
@each_build
def test_it_compiles_without_warning(source, options, architecture):
    compiled = compile_cuda(source, architecture, options=options)
    assert "warning" not in compiled.log
    assert read_resources(compiled).keys() == kernels_of(source)


@needs_nvrtc
@each_architecture
@each_build
def test_spilled_registers_and_low_occupancy_are_listed_under_costs(source, options, architecture):
    for resources in read_resources(compile_cuda(source, architecture, options=options)).values():
        assert resources.registers > 0
        if resources.spilled:
            assert "spill" in costs_of(source), resources
        if occupancy(resources) < FEW:
            assert re.search(r"resident|occupancy", costs_of(source)), f"{occupancy(resources):.0%} resident: {resources}"


@needs_nvrtc
@each_architecture
@each_build
def test_tensor_core_variants_and_no_others_use_tensor_cores(source, options, architecture):
    found = TENSOR_CORES.search(compile_cuda(source, architecture, options=options).ptx)
    assert bool(found) == ("_mma" in source.stem)


@needs_nvrtc
def test_a_source_that_does_not_compile_is_reported_with_its_line(tmp_path):
    broken = tmp_path / "cuda_broken.cu"
    broken.write_text('extern "C" __global__ void broken(float* y) {\n    y[0] = missing;\n}\n')
    with pytest.raises(NvrtcError, match=r'cuda_broken.cu\(2\): error: identifier "missing" is undefined'):
        compile_cuda(broken, "sm_80")
