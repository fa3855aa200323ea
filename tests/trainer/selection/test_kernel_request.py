"""``--kernels``: parsing, and refusals that offer the nearest valid request."""

import pytest

from models import MODELS
from registry import RequestError, discover
from trainer.program.template import StepTemplate
from trainer.selection.kernel_request import parse_kernels

TABLE = discover()
NANO = MODELS["gpt2-nano"]
B, T = 2, 32


@pytest.mark.parametrize(
    ("text", "corrected"),
    [
        ("numpy,gelu=numpy", "numpy,matmul_gelu=numpy"),
        ("gelu=numba_sigmoid", "matmul_gelu=numba_composed"),
        ("layer_norm=numba_welford,gelu=numpy", "layer_norm=numba_welford,matmul_gelu=numpy"),
        ("gelu=numpy,matmul_gelu=numba_packed", "matmul_gelu=numba_packed"),
        ("gelu=numpy,residual_backward=numpy", "matmul_gelu=numpy,residual_layer_norm_backward=numpy"),
        ("cuda,adamw_master=cuda_vector", "cuda,adamw=cuda_vector"),
        ("gelu/fc=numpy,matmul/head=numpy", "matmul/head=numpy,matmul_gelu=numpy"),
        ("softmax_backward=numpy,matmul=numpy", "matmul=numpy"),
    ],
)
def test_an_op_that_no_step_calls_is_refused_with_a_request_that_is_understood(text, corrected):
    keys = StepTemplate(TABLE, NANO, B, T).calls_by_key()
    with pytest.raises(RequestError) as caught:
        parse_kernels(text).resolve(TABLE, keys)
    assert str(caught.value).endswith(f"; try --kernels {corrected}")
    assert parse_kernels(corrected).resolve(TABLE, keys)


def test_every_op_that_no_step_calls_is_refused_with_a_request_that_is_understood():
    keys = StepTemplate(TABLE, NANO, B, T).calls_by_key()
    idle = set(TABLE.ops) - {op for op, _ in keys}
    assert "gelu" in idle
    for variant in (v for op in idle for v in TABLE.variants[op].values()):
        with pytest.raises(RequestError) as caught:
            parse_kernels(f"{variant.op.name}={variant.name}").resolve(TABLE, keys)
        [_, corrected] = str(caught.value).split("; try --kernels ")
        parse_kernels(corrected).resolve(TABLE, keys)


def test_a_toml_file_holds_a_set(tmp_path):
    path = tmp_path / "set.toml"
    path.write_text('[kernels]\nbase = "numpy"\nmatmul = "numpy_blas"\n"matmul/head" = "numba_packed"\n')
    request = parse_kernels(str(path))
    assert request.base == "numpy"
    assert dict(request.overrides) == {"matmul": "numpy_blas", "matmul/head": "numba_packed"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[kernels\n", "is not TOML"),
        (b"x = 1\n", "needs a table [kernels]"),
        (b"[kernels]\nmatmul = 3\n", "needs a table"),
        (b"\xff", "is not TOML"),
    ],
)
def test_a_broken_toml_file_is_one_clear_line(tmp_path, content, message):
    path = tmp_path / "set.toml"
    path.write_bytes(content)
    with pytest.raises(RequestError) as caught:
        parse_kernels(str(path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_variants_of_one_op_are_refused():
    with pytest.raises(RequestError, match=r"two variants of matmul, 'numpy' and 'numba_packed'; keep one"):
        parse_kernels("matmul=numpy,layer_norm=numba_rows,matmul=numba_packed")
    assert parse_kernels("matmul=numpy,matmul=numpy").overrides == {"matmul": "numpy"}
