"""After `compile_ahead`, a launch compiles its kernel only."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import subprocess, sys
from pathlib import Path
import numpy as np
import simulator
from simulator.native import library

library.CACHE = Path(sys.argv[1])
simulator.compile_ahead()

def refuse(*_, **__):
    raise AssertionError("a compiler is called")

subprocess.run = refuse
text = '''.version 8.0
.target sm_80
.address_size 64
.visible .entry one(.param .u64 out) {
.reg .b64 %rd<2>;
.reg .b32 %r<2>;
ld.param.u64 %rd1, [out];
mov.u32 %r1, 1;
st.global.u32 [%rd1], %r1;
ret;
}
'''
for mode in ("fast", "checked"):
    out = np.zeros(1, np.int32)
    print(simulator.Module.from_ptx(text).kernel("one").launch(1, 1, (out,), mode=mode).status, out[0])
"""


def run(folder, *path):
    command = [sys.executable, "-c", PROGRAM, folder]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env={"PATH": ":".join(path)})


def test_launches_call_the_library_that_was_compiled_ahead(tmp_path):
    done = run(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["ok 1", "ok 1"]


def test_machine_code_that_was_cut_off_is_compiled_anew(tmp_path):
    assert run(tmp_path).returncode == 0
    (kept,) = tmp_path.glob("objects/native-*.o")
    whole = kept.read_bytes()
    kept.write_bytes(whole[: len(whole) // 2])
    done = run(tmp_path)
    assert done.stdout.splitlines() == ["ok 1", "ok 1"]
