"""Inspection: the counts, the advice, and the message for a wrong request."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import inspect
from harness.cuda.datasheets import SHEETS, bound
from tests.house.document_check import document_of

SHAPE = ("--dims", "N=64 C=96")


def inspected(capsys, *words):
    code = inspect.main([*words, "--json"])
    said = capsys.readouterr()
    return code, document_of(said.out, "harness.inspect", code), said.err


def test_rows_read_by_single_threads_are_reported_as_far_apart(capsys):
    code, found, _ = inspected(capsys, "--op", "layer_norm", "--variant", "cuda_naive", *SHAPE)
    assert code == 0
    assert found["dims"] == {"N": 64, "C": 96}
    assert any(
        "32.0 sectors per request where 4.0 would be enough" in line and "cuda_naive.cu:" in line for line in found["advice"]
    )


def test_rows_read_by_a_warp_are_in_order(capsys):
    _, found, _ = inspected(capsys, "--op", "layer_norm", "--variant", "cuda_warp", *SHAPE)
    assert not any("sectors per request" in line for line in found["advice"])
    total = found["total"]
    assert total["sectors"] == total["ideal_sectors"]
    assert total["bytes_loaded"] >= 4 * 64 * 96
    assert total["flops"]["f32"] >= 5 * 64 * 96


def test_128_bits_need_fewer_requests_for_the_same_bytes(capsys):
    _, narrow, _ = inspected(capsys, "--op", "residual", "--variant", "cuda_naive", "--dims", "N=64 C=64")
    _, wide, _ = inspected(capsys, "--op", "residual", "--variant", "cuda_vector", "--dims", "N=64 C=64")
    assert wide["total"]["bytes_stored"] == narrow["total"]["bytes_stored"] == 4 * 4096
    assert 4 * wide["total"]["requests"] == narrow["total"]["requests"]
    assert any("128-bit" in line for line in narrow["advice"])
    assert not any("128-bit" in line for line in wide["advice"])


def test_lines_add_up_to_the_total(capsys):
    _, found, _ = inspected(capsys, "--op", "softmax", "--variant", "cuda_naive", "--dims", "N=40 C=33")
    for name in ("instructions", "requests", "sectors", "bytes_loaded", "bytes_stored"):
        assert sum(line[name] for line in found["lines"]) == found["total"][name]


def test_bfloat16_moves_half_the_bytes_and_its_bound_is_nearer(capsys):
    words = ("--op", "layer_norm", "--variant", "cuda_warp", "--dims", "N=64 C=96")
    (_, usual, _), (_, half, _) = inspected(capsys, *words), inspected(capsys, *words, "--dtype", "bfloat16")
    assert (usual["dtype"], half["dtype"]) == ("float32", "bfloat16")
    assert usual["total"]["bytes_stored"] - half["total"]["bytes_stored"] == 2 * 64 * 96  # mean and rstd stay as they are
    assert half["bounds_us"]["A100"]["time"] < 0.6 * usual["bounds_us"]["A100"]["time"]
    if half["footprint"]:
        assert half["footprint"]["registers"] > 0
        assert half["footprint"]["architecture"] == "sm_80"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--op", "layer_norm", "--variant", "cuda_warp", "--dtype", "bfloat61"), "did you mean 'bfloat16'?"),
        (("--op", "softmax", "--variant", "cuda_block", "--dtype", "bfloat16"), "dtype bfloat16 is not among float32"),
        (("--op", "layer_norm", "--variant", "numba_rows"), "only CUDA variants"),
        (("--op", "layer_norm", "--variant", "cuda_warpp"), "did you mean 'cuda_warp'"),
        (("--op", "layer_norm", "--variant", "cuda_warp", "--dims", "N=3"), "no value for C"),
        (("--op", "layer_norm", "--variant", "cuda_vector", "--dims", "N=1 C=100000"), "does not fit"),
    ],
)
def test_wrong_request_is_one_line_and_code_2(words, message, capsys):
    code, found, err = inspected(capsys, *words)
    assert (code, list(found)) == (2, ["error"])
    assert message in err
    assert "Traceback" not in err


@given(st.floats(1, 1e12), st.dictionaries(st.sampled_from(["f32", "tf32 mma", "u8"]), st.floats(0, 1e15)))
def test_a_bound_is_the_slowest_unit_and_grows_with_the_work(nbytes, flops):
    for sheet in SHEETS:
        time, unit = bound(sheet, nbytes, flops)
        assert unit == "memory" or unit in flops
        assert time >= nbytes / sheet.gb_s * 1e-3
        doubled, _ = bound(sheet, 2 * nbytes, {kind: 2 * count for kind, count in flops.items()})
        assert doubled == pytest.approx(2 * time)


def test_a_large_product_on_an_a100_takes_what_its_data_sheet_says():
    sheet = next(s for s in SHEETS if s.name == "A100")
    assert bound(sheet, 1e6, {"bf16 mma": 312e6}) == (pytest.approx(1.0), "bf16 mma")
    assert bound(sheet, 2039e3, {"f32": 1.0}) == (pytest.approx(1.0), "memory")


VARIANT = '''"""Nothing.

Idea: a test.
Source: a test.
"""
from kernels.layer_norm.spec import LAYER_NORM
from registry import register
from registry.cuda import CudaKernel, launch

_KERNEL = CudaKernel(__file__, "nothing")

@register(LAYER_NORM)
def cuda_broken(x, weight, bias, y, mean, rstd, *, eps):
    launch(_KERNEL, 1, 32, (y,))
'''


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ('extern "C" __global__ void nothing(float* y) { y[0] = missing; }', "cuda_broken.cu:1: use of undeclared identifier"),
        ('extern "C" __global__ void another(float* y) { y[0] = 1; }', "unknown kernel 'nothing'"),
        ('extern "C" __global__ void nothing(float* y, int size) { y[0] = size; }', "LaunchError"),
        (None, "no such file"),
    ],
)
def test_kernel_that_cannot_run_is_one_line(source, message, tmp_path, capsys):
    (tmp_path / "cuda_broken.py").write_text(VARIANT)
    if source:
        (tmp_path / "cuda_broken.cu").write_text(source)
    words = ("--op", "layer_norm", "--variant", "cuda_broken", "--kernels-path", str(tmp_path), *SHAPE)
    code, found, err = inspected(capsys, *words)
    assert code != 0
    assert list(found) == ["error"]
    assert message in err
    assert len(err.strip().splitlines()) == 1
