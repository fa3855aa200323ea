"""Two ranks, each on its own (stand-in) GPU or in the simulator, train like one process with twice the rows."""

import json

import numpy as np
import pytest
from torch.distributed import is_nccl_available

from tests.gpu.proofs import first_rungs
from tests.trainer.ranks.test_process_group import failures, parameters, torchrun

TEXT = "To be, or not to be, that is the question.\n\n" * 200
RUNS = {"cuda": "tests.gpu.pico_run_on_gpu", "sim": "tests.trainer.pico_run"}


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("device", RUNS)
def test_two_ranks_train_as_one_process_with_twice_the_rows(device, tmp_path):
    (tmp_path / "text.txt").write_text(TEXT)
    first_rungs(tmp_path / "results", device)
    given = {"data": tmp_path / "text.txt", "out": tmp_path / "out", "results": tmp_path / "results", "device": device}
    words = ["--json", "--steps=3", *(f"--{name}={value}" for name, value in given.items())]
    halves = torchrun([*words, "--batch=1"], module=RUNS[device])
    assert halves.returncode == 0, halves.stderr
    first, second = (parameters(tmp_path / "out", rank) for rank in (0, 1))
    for name, tensor in first.items():
        np.testing.assert_array_equal(second[name], tensor, err_msg=name)

    result = json.loads(halves.stdout)
    whole = torchrun([*words, "--batch=2", f"--out={tmp_path / 'alone'}"], ranks=1, module=RUNS[device])
    expected = json.loads(whole.stdout)
    assert set(result["kernels"].values()) == {"cuda_naive"}
    np.testing.assert_allclose(result["train_loss"], expected["train_loss"], rtol=1e-5)
    np.testing.assert_allclose(result["val_loss"], expected["val_loss"], rtol=1e-5)

    calls = [line for line in halves.stderr.splitlines() if line.startswith("call:")]
    if device == "sim":
        assert calls == []
    else:
        assert {f"call: group of nccl on GPU {rank}" for rank in (0, 1)} <= set(calls)
        assert {f"call: torch on GPU {rank}" for rank in (0, 1)} <= set(calls)
        assert "call: stream of the other work: True" in calls
        assert "call: stream of the other work: False" not in calls


@pytest.mark.usefixtures("gpu")
def test_more_ranks_than_gpus_are_refused_in_one_line(tmp_path):
    given = {"out": tmp_path / "out", "results": tmp_path / "results", "device": "cuda"}
    done = torchrun([f"--{name}={value}" for name, value in given.items()], ranks=3, module=RUNS["cuda"])
    assert done.returncode != 0
    assert failures(done) == ["error: rank 0: 3 processes need one GPU each, but there are 2: torchrun --nproc-per-node 2"]


@pytest.mark.skipif(is_nccl_available(), reason="this build of torch has NCCL")
@pytest.mark.usefixtures("gpu")
def test_ranks_on_gpus_need_nccl(tmp_path):
    given = {"out": tmp_path / "out", "results": tmp_path / "results", "device": "cuda"}
    done = torchrun([f"--{name}={value}" for name, value in given.items()])
    [line] = failures(done)
    assert line.startswith("error: rank 0: --device cuda with 2 processes needs NCCL, which torch")
