"""A numba variant from another folder works in each command, and in each process after the first."""

import json
import os
import subprocess
import sys

from registry.paths import CACHE, ROOT
from tests.harness.race_beside_others import RACE_BESIDE_OTHERS
from tests.registry.test_foreign import written

TEXT = '''
"""Copy the row of each token and add the row of its place, in one jitted function.

Idea: one loop.
Source: tests.
"""
{first}
from kernels.embedding.spec import EMBEDDING
from registry import register


@{jit}
def _copy(tokens, wte, wpe, x):
    for b in range(x.shape[0]):
        for t in range(x.shape[1]):
            for c in range(x.shape[2]):
                x[b, t, c] = {sum}


@register(EMBEDDING)
def {name}(tokens, wte, wpe, x):
    _copy(tokens, wte, wpe, x)
'''
NJIT, NUMBA = "njit(cache=True)", "from numba import njit"
ONE = ("--op", "embedding")


def ran(module, *words, path=""):
    """Run a command in a process of its own."""
    started = ["-c", RACE_BESIDE_OTHERS] if module == "harness.bench" else ["-m", module]
    command = [sys.executable, *started, *map(str, words)]
    environment = os.environ | {"PYTHONPATH": str(path)}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_each_command_works_in_each_process(tmp_path):
    folder, both = tmp_path / "my kernels", "numba_cached,numba_simd"
    add = "wte[tokens[b, t], c] + wpe[t, c]"
    written(folder / "numba_cached.py", TEXT.format(name="numba_cached", first=NUMBA, jit=NJIT, sum=add))
    simd = TEXT.format(name="numba_simd", first="from kernels.simd import jit", jit="jit", sum=add)
    written(folder / "numba_simd.py", simd)
    text = written(tmp_path / "text.txt", "To be, or not to be, that is the question.\n" * 200)
    shared = (f"--kernels-path={folder}", f"--results={tmp_path / 'results'}")
    dims = "B=1 T=4 V=8 P=0 S=0 C=8"
    commands = {
        "harness.verify": (*ONE, "--variant", both, "--examples", 6, *shared),
        "harness.bench": ("--op", "embeddin[g]", "--variant", both, "--dims", dims, "--budget", "1s", *shared),
        "pytest": ("-q", "-p", "no:cacheprovider", "-p", "no:xdist", shared[0], *ONE, "--variant", both),
        "tests.trainer.pico_run": (
            *shared,
            f"--data={text}",
            "--steps=1",
            "--kernels=numpy,embedding=numba_cached",
        ),
    }
    for again in range(2):
        for module, words in commands.items():
            out = [f"--out={tmp_path / f'out-{again}'}"] if module.startswith("tests.trainer") else []
            done = ran(module, *words, *out)
            assert done.returncode == 0, done.stdout + done.stderr
    kept = [path.parent.parent for path in CACHE.rglob(f"{both.split(',', maxsplit=1)[0]}._copy-*.nbi")]
    assert set(kept) == {CACHE / "numba" / "foreign"}  # what was kept under other names is read no more


def test_no_evidence_is_made_by_machine_code_of_a_helper_as_it_was(tmp_path):
    folder, statuses = tmp_path / "mine", []
    helper = "from numba import njit\n\n\n@njit(cache=True)\ndef plus(a, b):\n    return a {sign} b\n"
    first = f"from helper_of_tests import plus\n{NUMBA}"
    text = TEXT.format(name="numba_helped", first=first, jit=NJIT, sum="plus(wte[tokens[b, t], c], wpe[t, c])")
    written(folder / "numba_helped.py", text)
    for sign in ("+", "-", "+"):
        written(folder / "helper_of_tests.py", helper.format(sign=sign))
        words = (*ONE, "--variant", "numba_helped", "--examples", 6, "--json", "--kernels-path", folder, "--results", tmp_path)
        done = ran("harness.verify", *words, path=folder)
        statuses += [result["status"] for result in json.loads(done.stdout)["results"]]
    assert statuses == ["passed", "failed", "passed"]
