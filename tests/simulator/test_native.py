"""The C++ library that kernels call: it compiles without a warning, and has all functions that generated code calls."""

import subprocess
import sys
from pathlib import Path

import pytest

from simulator.errors import CompileError
from simulator.native.library import SUPPORT, compiled, library


@pytest.mark.parametrize("processor", ["native", "x86-64"])
def test_it_compiles_without_a_warning(processor):
    assert compiled("-Wall", "-Wextra", "-Werror", f"-march={processor}")


def test_every_function_that_generated_code_calls_is_there():
    assert [name for name in ("run_grid", *SUPPORT) if not library().address(name)] == []


def test_the_error_holds_the_message_of_the_compiler():
    with pytest.raises(CompileError, match=r"native\.cpp does not compile: .*no-such-option"):
        compiled("--no-such-option")


CROWDED = """
import ctypes, mmap, sys
import llvmlite.binding as llvm
from simulator.native import library

reserve = ctypes.CDLL(None).mmap
reserve.restype, reserve.argtypes = ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_size_t] + 3 * [ctypes.c_int] + [ctypes.c_long]
release = ctypes.CDLL(None).munmap
release.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000  # reserved, not used
llvm.initialize_native_target()
code = library.compiled()
large = reserve(None, 5 << 30, 0, flags, -1, 0)
above = small = reserve(None, 24 << 10, 0, flags, -1, 0)
failed = ctypes.c_void_p(-1).value
while failed != small > large:  # the holes above it, but for one of two pages
    above, small = small, reserve(None, 24 << 10, 0, flags, -1, 0)
if failed in (large, small):
    sys.exit("the system gives no more addresses")
release(above, 8 << 10)
print(library.Library(code).address("run_grid") != 0)
"""


def test_its_sections_lie_together_where_addresses_are_scarce():
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", CROWDED], cwd=root, capture_output=True, text=True, check=False)
    if "no more addresses" in done.stderr:
        pytest.skip(done.stderr)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
