"""Foreign files: their module names, a reason for each file without a variant, and the helpers among their sources."""

import json
import subprocess
import sys
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry import RequestError, UnknownNameError, discover
from registry.__main__ import main
from registry.fingerprint import source_hash, sources
from registry.foreign import local_files, module_name
from registry.paths import KERNELS, ROOT

VARIANT = '''
"""Add.

Idea: let numpy do it.
Source: tests.
"""
import numpy as np
from kernels.residual.spec import RESIDUAL
from registry import register


@register(RESIDUAL)
def {name}(x1, x2, y):
    np.add(x1, x2, out=y)
'''


def variant(name, first=""):
    """Return the text of a variant that begins with a statement."""
    return VARIANT.format(name=name).replace("import numpy", f"{first}\nimport numpy", 1)


def written(path, text):
    """Write a file, its folders included, and return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return path


def failed(table, path):
    """Return the table's entry of a file that could not be loaded."""
    (found,) = [f for f in table.unloadable if f.path == path]
    return found


def test_the_name_of_a_module_is_the_same_in_every_process(tmp_path):
    path = tmp_path / "a.py"
    code = f"import pathlib, registry.foreign; print(registry.foreign.module_name(pathlib.Path({str(path)!r})))"
    command = [sys.executable, "-c", code]
    for seed in ("1", "2"):
        done = subprocess.run(command, cwd=ROOT, env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == module_name(path)


def test_files_of_the_same_name_in_two_folders_are_two_modules_and_the_reason_of_the_second_names_the_first(tmp_path):
    one, two = (written(tmp_path / folder / "numpy_add.py", variant("numpy_add")) for folder in "ab")
    table = discover(one.parent, two.parent)
    assert table.variant("residual", "numpy_add").path == one
    assert module_name(one) != module_name(two)
    assert str(one) in failed(table, two).reason


def test_a_folder_that_is_given_twice_or_within_another_gives_each_variant_once(tmp_path):
    path = written(tmp_path / "inner" / "numpy_add.py", variant("numpy_add"))
    table = discover(tmp_path, path.parent, path.parent)
    assert [f for f in table.unloadable if f.path == path] == []
    assert table.requested("residual", "numpy_add").path == path


def test_the_projects_own_folder_changes_nothing():
    table = discover(KERNELS / "residual")
    assert table.requested("residual", "numba_flat").function.__module__ == "kernels.residual.numba_flat"


ENDS = ["raise SystemExit", "import sys; sys.exit('no GPU here')", "raise BaseException('odd')", "raise GeneratorExit"]


@pytest.mark.parametrize("text", ENDS)
def test_a_file_that_ends_the_process_is_one_line_and_the_command_goes_on(tmp_path, text, capsys):
    path = written(tmp_path / "numpy_ends.py", text)
    written(tmp_path / "numpy_add.py", variant("numpy_add"))
    assert main(["--op", "residual", "--kernels-path", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    (line,) = [line for line in output.splitlines() if str(path) in line]
    assert line.startswith("not loadable")
    assert "numpy_add" in output
    with pytest.raises(RequestError, match="numpy_ends"):
        discover(tmp_path).select(discover(tmp_path).select_ops("residual"), "numpy_ends")


def test_ctrl_c_while_a_file_is_imported_is_not_the_files_fault(tmp_path):
    written(tmp_path / "numpy_ends.py", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        discover(tmp_path)


def test_a_file_without_register_says_so_and_a_helper_is_left_alone(tmp_path):
    path = written(tmp_path / "numpy_forgot.py", variant("numpy_forgot").replace("@register(RESIDUAL)\n", ""))
    written(tmp_path / "_helper.py", "raise ValueError")
    written(tmp_path / ".hidden" / "numpy_add.py", "raise ValueError")
    written(tmp_path / "__pycache__" / "numpy_add.py", "raise ValueError")
    table = discover(tmp_path)
    assert [f.path for f in table.unloadable] == [path]
    assert "@register" in failed(table, path).reason
    assert "underscore" in failed(table, path).reason


def test_the_error_of_a_name_in_two_files_names_both_and_neither_file_replaces_the_other(tmp_path):
    path = written(tmp_path / "mine.py", variant("numba_flat"))
    table = discover(tmp_path)
    own = table.variant("residual", "numba_flat")
    assert own.path == KERNELS / "residual" / "numba_flat.py"
    for ask in (
        lambda: table.select(table.select_ops("residual"), "numba_flat"),
        lambda: table.select(table.select_ops("all"), "numpy,numba_flat"),
        lambda: table.requested("residual", "numba_flat"),
    ):
        with pytest.raises(RequestError) as error:
            ask()
        assert str(path) in str(error.value)
        assert str(own.path) in str(error.value)
    assert own in table.select(table.select_ops("residual"), "numba_*")  # shown as not loadable beside it
    assert [f.path for f in table.unloadable_of(table.select_ops("residual"), "numba_*")] == [path]
    assert table.unloadable_of(table.select_ops("residual"), "numpy*") == []
    assert table.unloadable_of(table.select_ops("gelu")) == []  # the op of the file is known


@pytest.mark.parametrize("pattern", ["residual", "residual_backward", "res*", "all"])
@pytest.mark.parametrize("name", ["numpy_typo", "numpy_typ*"])
def test_the_reason_is_given_for_any_number_of_selected_ops(tmp_path, pattern, name):
    written(tmp_path / "some where" / "numpy_typo.py", "def numpy_typo(:")
    table = discover(tmp_path)
    with pytest.raises(RequestError, match=r"numpy_typo.*SyntaxError"):
        table.select(table.select_ops(pattern), name)


def test_other_names_are_still_unknown(tmp_path):
    written(tmp_path / "numpy_typo.py", "def numpy_typo(:")
    table = discover(tmp_path)
    with pytest.raises(UnknownNameError, match="did you mean 'numba_flat'"):
        table.select(table.select_ops("residual"), "numba_flt")


def test_a_spec_and_a_lone_cuda_source_are_reported(tmp_path):
    spec, alone = written(tmp_path / "spec.py", ""), written(tmp_path / "residual" / "cuda_mine.cu", "")
    written(tmp_path / "cuda_two.cu", "")
    written(tmp_path / "cuda_shared.cu", "")
    written(tmp_path / "cuda_two.py", variant("cuda_two", "SHARED = 'cuda_shared.cu'"))
    table = discover(tmp_path)
    assert {f.path for f in table.unloadable} == {spec, alone}
    assert "kernels/<family>/" in failed(table, spec).reason
    assert "cuda_mine.py" in failed(table, alone).reason


def test_every_file_is_in_the_json_document_and_its_prints_are_not(tmp_path, capsys):
    path = written(tmp_path / "my things" / "numpy_typo.py", "print('hello')\ndef numpy_typo(:")
    written(tmp_path / "numpy_loud.py", variant("numpy_loud", "print('hello')"))
    assert main(["--op", "residual", "--json", "--kernels-path", str(tmp_path)]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["unloadable"]
    assert (entry["path"], entry["op"], entry["variant"]) == (str(path), "", "numpy_typo")


HELPERS = st.sampled_from(["import my_help", "from my_help import f", "import my_help as m", "from my_help import part"])


@given(statement=HELPERS, package=st.booleans())
def test_a_helper_beside_a_variant_is_one_of_its_sources(tmp_path_factory, statement, package):
    folder = tmp_path_factory.mktemp("foreign")
    helper = written(folder / ("my_help/__init__.py" if package else "my_help.py"), "f = part = 1\n")
    path = written(folder / "numpy_add.py", variant("numpy_add", statement))
    assert helper in sources(path)
    assert KERNELS / "residual" / "spec.py" in sources(path)
    assert not [p for p in sources(path) if "site-packages" in p.parts]


def test_a_module_in_a_helper_package_is_a_source_but_installed_ones_are_not(tmp_path):
    path, inner = tmp_path / "numpy_add.py", written(tmp_path / "lib" / "maths.py", "")
    assert local_files("lib.maths", path) == [inner]
    assert [local_files(name, path) for name in ("numpy", "numba.core", "json", "registry.table", "nobody")] == [[]] * 5


def test_a_changed_helper_changes_the_hash(tmp_path, monkeypatch):
    hashes = set()
    for number in (1, 2):
        folder = tmp_path / str(number)
        written(folder / "rise_of_tests.py", f"N = {number}")
        path = written(folder / "numpy_add.py", variant("numpy_add", "from rise_of_tests import N"))
        monkeypatch.syspath_prepend(str(folder))
        hashes.add(source_hash(discover(path.parent).variant("residual", "numpy_add")))
    assert len(hashes) == 2
