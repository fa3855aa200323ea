"""What is compiled ahead is what launches call."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import numpy as np
import simulator
from simulator.runtime.scheduler import run_grid

simulator.compile_ahead()
ahead = list(run_grid.signatures)
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
print(run_grid.signatures == ahead)
"""


def test_launches_call_what_was_compiled_ahead():
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=root, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["ok 1", "ok 1", "True"]
