"""Discovery finds every file, records the files that could not be loaded, and never fails because of a file."""

import json
import re
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import kernels
from registry import ContractError, RequestError, UnknownNameError, discover, renamed
from registry.paths import ROOT

GOOD = '''
"""Call the reference in float32.

Idea: let numpy do it.
Source: tests.
"""
from kernels.layer_norm.spec import LAYER_NORM, layer_norm
from registry import register


@register(LAYER_NORM)
def numpy_{name}(x, weight, bias, y, mean, rstd, *, eps):
    y[...], mean[...], rstd[...] = layer_norm(x, weight, bias, eps=eps)
'''


def folder(path, **files):
    """Write files NAME=text into a new folder and return it."""
    for name, text in files.items():
        (path / f"{name}.py").write_text(textwrap.dedent(text))
    return path


def test_a_user_s_folder_adds_variants_that_run(tmp_path):
    table = discover(folder(tmp_path, numpy_mine=GOOD.format(name="mine")))
    variant = table.variant("layer_norm", "numpy_mine")
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    y, mean, rstd = np.empty((2, 3), np.float32), np.empty(2, np.float32), np.empty(2, np.float32)
    variant.function(x, np.ones(3, np.float32), np.zeros(3, np.float32), y, mean, rstd, eps=1e-5)
    np.testing.assert_allclose(mean, [1, 4])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("def broken(:", "SyntaxError"),
        ("import a_package_nobody_has", "ModuleNotFoundError: No module named 'a_package_nobody_has'"),
        (GOOD.format(name="mine").replace("Source: tests.", ""), "no 'Source:' line"),
        (GOOD.format(name="mine").replace("bias, y, mean", "bias, mean, y"), "the op passes"),
        (GOOD.format(name="mine").replace("def numpy_mine", "def fortran_mine"), "backend"),
        (GOOD.format(name="mine").replace("*, eps", "*, epsilon"), "keyword parameters"),
        (GOOD.format(name="mine").replace("LAYER_NORM)", "LAYER_NORM, determinism='always')"), "determinism='always'"),
        (
            GOOD.format(name="mine").replace("LAYER_NORM)", "LAYER_NORM, dtypes=('float16',))"),
            "problems of layer_norm: float32, bfloat16",
        ),
        (GOOD.format(name="mine").replace("numpy_mine", "numpy"), "is taken by"),
    ],
)
def test_a_file_that_cannot_be_loaded_is_recorded_and_the_others_are_loaded(tmp_path, text, reason):
    table = discover(folder(tmp_path, numpy_mine=text, numpy_other=GOOD.format(name="other")))
    (failed,) = [f for f in table.unloadable if f.path.parent == tmp_path]
    assert reason in failed.reason
    assert "\n" not in failed.reason
    assert "numpy_other" in table.variants["layer_norm"]
    if failed.name not in table.variants["layer_norm"]:
        with pytest.raises(RequestError, match=re.escape(failed.reason)):
            table.variant("layer_norm", "numpy_mine")


def test_a_missing_folder_is_one_clear_error(tmp_path):
    with pytest.raises(RequestError, match="is not a folder"):
        discover(tmp_path / "nowhere")


def test_ops_are_selected_by_name_family_and_glob():
    table = discover()
    assert [op.name for op in table.select_ops("layer_norm")] == ["layer_norm", "layer_norm_backward"]
    assert [op.name for op in table.select_ops("layer_norm_b*")] == ["layer_norm_backward"]
    assert table.select_ops("all") == list(table.ops.values())


def test_unknown_names_offer_the_nearest():
    table = discover()
    with pytest.raises(UnknownNameError, match="did you mean 'layer_norm'"):
        table.select_ops("layernorm")
    with pytest.raises(UnknownNameError, match="did you mean 'numba_rows'"):
        table.variant("layer_norm", "numba_row")
    with pytest.raises(UnknownNameError, match="did you mean 'numba_rows'"):
        table.select(table.select_ops("layer_norm"), "numpy,numba_row")


@pytest.mark.parametrize(("op", "name"), renamed.VARIANTS)
def test_an_earlier_name_of_a_variant_works_with_one_notice(op, name, tmp_path, capsys):
    table, new = discover(tmp_path), renamed.VARIANTS[op, name]
    assert table.requested(op, name).name == table.variant(op, name).name == new
    assert [v.name for v in table.select([table.op(op)], f"numpy,{name}")] == ["numpy", new]
    assert capsys.readouterr().err.splitlines() == [
        f"note: variant {name!r} of {op} is now {new!r}; the next release will not know {name!r}"
    ]


def test_one_earlier_name_selects_renamed_and_other_variants_of_a_family(tmp_path):
    table = discover(tmp_path)
    assert [str(v) for v in table.select(table.select_ops("residual"), "numba_flat")] == [
        "residual/numba_flat",
        "residual_backward/numba_fused",
    ]


def test_no_variant_has_an_earlier_name_and_every_name_of_today_exists():
    table = discover()
    assert [key for key in renamed.VARIANTS if key[1] in table.variants[key[0]]] == []
    assert [key for key, new in renamed.VARIANTS.items() if new not in table.variants[key[0]]] == []


NAMES_ONE_OP = """
import json, sys
from registry import discover
table = discover()
table.variant("layer_norm", "cuda_warp")
print(json.dumps([sorted(n for n in sys.modules if n.startswith("kernels.") and ".cuda_" in n), sorted(table.variants)]))
"""


def test_naming_one_op_imports_no_other_family():
    done = subprocess.run([sys.executable, "-c", NAMES_ONE_OP], cwd=ROOT, capture_output=True, text=True, check=True)
    imported, ops = json.loads(done.stdout)
    assert "kernels.layer_norm.cuda_warp" in imported
    assert [name for name in imported if not name.startswith("kernels.layer_norm.")] == []
    assert {"layer_norm", "gelu", "matmul_backward_bias"} <= set(ops)


def test_the_other_families_are_imported_at_their_first_use():
    table = discover()
    assert "numba_rows" in table.variants["layer_norm_backward"]
    assert table.unloadable_of(table.select_ops("gelu")) == []


def test_the_error_of_a_file_in_the_folder_of_another_family_names_its_own_folder():
    table = discover()
    stray = table.variant("gelu", "numba_sigmoid")
    with pytest.raises(ContractError, match="gelu/numba_sigmoid belongs in kernels/gelu/"):
        table._add(stray, "softmax")  # noqa: SLF001 (loading a file of kernels/softmax/ calls it)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("oops(", "SyntaxError"),
        ("raise SystemExit(3)", "importing it ends the process"),
        ("X = 1", "it defines no Op"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_spec_that_fails_is_listed_and_the_other_ops_work_on(tmp_path, monkeypatch, text, reason):
    family = f"broken_{reason.split()[0].lower()}"  # one name each: a package is imported once
    folder = tmp_path / family
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "spec.py").write_text(text)
    monkeypatch.setattr(kernels, "__path__", [*kernels.__path__, str(tmp_path)])
    table = discover.__wrapped__()
    known = set(table.ops)
    table.add_family(folder)
    assert set(table.ops) == known
    [failed] = [f for f in table.unloadable if f.op == family]
    assert (failed.path, failed.reason.startswith(reason)) == (folder / "spec.py", True)
    with pytest.raises(RequestError, match=rf"op '{family}' could not be loaded from .*spec.py: "):
        table.select_ops(family)
