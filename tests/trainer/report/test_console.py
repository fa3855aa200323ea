"""Reports show a speed with its share of the peak of the same device, and say when the speed is the simulator's."""

import dataclasses

import pytest
from rich.console import Console

from registry.records import Run, Store
from trainer import run
from trainer.loop import Update
from trainer.report.console import ProgressBar
from trainer.report.machine_facts import peak_gflops
from trainer.report.result import Result

RESULT = Result(
    model="gpt2-nano",
    device="cpu",
    dtype="float32",
    steps=3,
    ranks=1,
    kernels={},
    train_loss=[3.0],
    val_loss=[3.0, 2.0],
    val_steps=[0, 3],
    unigram_entropy=2.5,
    tokens_per_second=100.0,
    step_ms_median=10.0,
    share_of_roofline=0.5,
    peak_rss_mib=100.0,
    sample="To be",
    no_sample="",
    saved="out/model.safetensors",
    interrupted=False,
    signal="",
)


def raced(device, gflops, threads=2):
    """Return a race that measured a peak."""
    return Run(
        op="matmul",
        workload="w",
        dims={},
        params={},
        protocol=f"{device}-warm",
        threads=threads,
        rows=[],
        controls={},
        roofline={"gflops": gflops},
        device=device,
    )  # fmt: skip (one record)


def test_only_a_program_on_the_cpu_has_a_peak_and_it_is_the_newest_of_as_many_threads(tmp_path):
    store = Store(tmp_path)
    assert peak_gflops(store, 2, "cpu") is None
    for race in (raced("cpu", 100.0), raced("cpu", 200.0), raced("cpu", 300.0, threads=1), raced("cuda", 400.0)):
        store.add_run(race)
    assert peak_gflops(store, 2, "cpu") == 200.0
    assert peak_gflops(store, 2, "sim") is None
    assert peak_gflops(store, 2, "cuda") is None


@pytest.mark.parametrize(
    ("device", "unit"), [("cpu", "10 tokens/s"), ("cuda", "10 tokens/s"), ("sim", "10 tokens/s in the simulator")]
)
def test_a_progress_line_shows_the_speed_of_its_device(capsys, device, unit):
    with ProgressBar(1, 10, 1.0, None, device) as bar:
        bar.stepped(Update(1, loss=2.0, norm=1.0, learning_rate=0.1, seconds=1.0))
    assert capsys.readouterr().err == f"step 1/1  loss 2.000  {unit}\n"


def shown(result, capsys):
    """Return the report of a run."""
    run._show(Console(width=200), result)  # noqa: SLF001 (users see its output)
    return capsys.readouterr().out


def test_the_report_of_a_run_on_the_cpu_has_a_share_of_the_roofline(capsys):
    first, *_ = shown(RESULT, capsys).splitlines()
    assert first == "3 steps, 100 tokens/s, 10 ms per step (median), 50% of roofline, 100 MiB at most"


def test_the_report_of_a_simulated_run_says_that_it_is_no_speed_of_a_gpu(capsys):
    first, *_ = shown(dataclasses.replace(RESULT, device="sim", share_of_roofline=None), capsys).splitlines()
    assert "100 tokens/s, 10 ms per step (median) in the simulator, which says nothing about a GPU's speed" in first
    assert "roofline" not in first


def test_a_report_has_a_sample_or_the_reason_for_none(capsys):
    with_sample = shown(RESULT, capsys)
    assert with_sample.endswith("To be\n")
    assert "no sample" not in with_sample
    without = shown(dataclasses.replace(RESULT, sample="", no_sample="the run was interrupted"), capsys)
    assert without.endswith("no sample: the run was interrupted\n")
