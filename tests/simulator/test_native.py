"""The C++ that kernels call: it compiles without a warning, and has all that generated code may ask for."""

import pytest

from simulator.errors import CompileError
from simulator.native.library import SUPPORT, compiled, library


@pytest.mark.parametrize("processor", ["native", "x86-64"])
def test_it_compiles_without_a_warning(processor):
    assert compiled("-Wall", "-Wextra", "-Werror", f"-march={processor}")


def test_every_function_that_generated_code_calls_is_there():
    assert [name for name in ("run_grid", *SUPPORT) if not library().address(name)] == []


def test_what_the_compiler_says_is_told():
    with pytest.raises(CompileError, match=r"native\.cpp does not compile: .*no-such-option"):
        compiled("--no-such-option")
