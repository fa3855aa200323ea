"""``python -m registry new`` writes files that load, and whose test fails with a sentence that names the missing body."""

import importlib.util
import shlex
import sys

import pytest

from registry import discover
from registry.__main__ import main
from registry.scaffold import new_op

TABLE = discover()
OPS = list(TABLE.ops.values())


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
@pytest.mark.parametrize("backend", ["numpy", "numba", "cuda"])
def test_a_new_variant_of_every_op_loads(op, backend, tmp_path, capsys):
    assert main(["new", op.name, f"{backend}_mine", "--into", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    found = discover(tmp_path)
    variant = found.variant(op.name, f"{backend}_mine")
    assert found.unloadable_of([op]) == []
    assert str(variant.path) in output
    assert variant.path.with_suffix(".cu").exists() == (backend == "cuda")
    texts = [path.read_text() for path in (variant.path, variant.path.with_suffix(".cu")) if path.exists()]
    assert all("Dims: " in text and all(f"{dim} = " in text for dim in op.domain) for text in texts)
    assert [word for word in shlex.split(output.splitlines()[-1]) if word.startswith("--kernels-path")] == [
        f"--kernels-path={tmp_path}"
    ]


def test_the_error_of_a_new_variant_names_the_arrays_to_write(tmp_path):
    main(["new", "layer_norm", "numpy_mine", "--into", str(tmp_path)])
    with pytest.raises(
        NotImplementedError, match=r"numpy_mine of layer_norm has no body yet: write y, mean, rstd in .*numpy_mine"
    ):
        discover(tmp_path).variant("layer_norm", "numpy_mine").function(*[None] * 6, eps=1e-5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["new", "layer_nrm", "numba_mine"], "did you mean 'layer_norm'"),
        (["new", "layer_norm", "mine"], "did you mean"),
        (["new", "layer_norm", "numba_Mine"], "write lower-case words joined by '_'"),
        (["new", "layer_norm", "numba_rows"], "variant 'numba_rows' of layer_norm exists"),
        (["new-op", "layer_norm"], "python -m registry new layer_norm numba_mine"),
        (["new-op", "Layer"], "write lower-case words joined by '_'"),
    ],
)
def test_an_invalid_name_is_a_one_line_error_and_writes_nothing(words, message, tmp_path, capsys):
    assert main([*words, *(["--into", str(tmp_path)] if words[0] == "new" else [])]) == 2
    output = capsys.readouterr().err
    assert message in output
    assert output.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_left_unchanged(tmp_path, capsys):
    mine = tmp_path / "numba_mine.py"
    mine.write_text("precious")
    assert main(["new", "layer_norm", "numba_mine", "--into", str(tmp_path)]) == 2
    assert "exists and is left unchanged" in capsys.readouterr().err
    assert mine.read_text() == "precious"


def test_a_new_op_is_a_contract(tmp_path, monkeypatch):
    monkeypatch.setattr("registry.scaffold.ROOT", tmp_path)
    made = new_op(TABLE, "swish_glu")
    spec = tmp_path / "kernels" / "swish_glu" / "spec.py"
    assert made.files == (spec.with_name("__init__.py"), spec)
    module = importlib.util.module_from_spec(importlib.util.spec_from_file_location("swish_glu_spec", spec))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    module.__spec__.loader.exec_module(module)
    assert module.SWISH_GLU.name == module.SWISH_GLU.family == "swish_glu"
    with pytest.raises(NotImplementedError, match=r"write it in kernels/swish_glu/spec\.py"):
        module.SWISH_GLU.reference(None)
