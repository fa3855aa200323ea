"""How the tests make documented commands small, and which of them cannot run on every machine.

Each entry is a pattern of the command's text and the reason. An entry that no page needs any more fails a test.
"""

from dataclasses import dataclass, field

RESULTS, OUT, VARIANTS, TEXT = "RESULTS", "OUT", "VARIANTS", "TEXT"  # files and folders that a test makes


@dataclass(frozen=True)
class Change:
    """What is changed in the commands that a pattern finds; all that match are applied in order.

    Attributes
    ----------
    pattern : str
        A regular expression, searched for in the command's text.
    reason : str
        Why the command as it stands on the page does not run here in seconds.
    options : mapping of str to str
        Options and their values: replaced where the command has the option, else appended.
    words : sequence of str
        Words appended, such as the one test file that pytest collects.
    stand_ins : mapping of str to str
        Words of the page and what they are replaced by.
    """

    pattern: str
    reason: str
    options: dict[str, str] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    stand_ins: dict[str, str] = field(default_factory=dict)


RECORDS = "a test writes no records into results/"
LONG = "takes long"
CHANGES = (
    Change(r"harness\.(verify|bench|explain)", RECORDS, {"--results": RESULTS}),
    Change(r"trainer\.run", "a test keeps no model", {"--results": RESULTS, "--out": OUT, "--steps": "1"}),
    Change(r"trainer\.run(?!.*nano)", LONG, {"--model": "gpt2-nano"}),
    Change(r"trainer\.run", LONG, {"--sequence": "8"}),
    Change(r"-m (trainer\.run|benchmarks\.step)", "other tests use the other cores", {"--threads": "1"}),
    Change(r"--total-batch", LONG, {"--batch": "1", "--total-batch": "32"}),
    Change(r"benchmarks\.step", LONG, {"--rounds": "1", "--model": "gpt2-nano", "--batch": "1", "--sequence": "8"}),
    Change(r"benchmarks\.step", RECORDS, {"--results": RESULTS}),
    Change(r"harness\.verify(?!.*--problem)", "draws dozens of problems", {"--examples": "6"}),
    Change(r"harness\.verify.*--profile ci", LONG, {"--profile": "dev"}),
    Change(r"harness\.verify --op all(?!.*sim)", LONG, {"--variant": "numba_welford"}),
    Change(r"harness\.verify --op all.*sim", LONG, {"--variant": "cuda_composed"}),
    Change(r"harness\.bench", LONG, {"--budget": "1s", "--threads": "1"}),
    Change(r"harness\.bench --op matmul", LONG, {"--variant": "numba_tiles", "--workload": "gpt2-nano-b1-t8/qkv"}),
    Change(r"harness\.bench --op layer_norm", LONG, {"--variant": "numba_rows", "--workload": "gpt2-nano-b1-t8"}),
    Change(r"harness\.bench --op layer_norm.*mine", "the reader's own variant takes part", {"--variant": "numba_mine"}),
    Change(r"harness\.bench --op all", LONG, {"--variant": "numba_welford", "--workload": "gpt2-nano-b1-t8"}),
    Change(r"harness\.bench --op adamw", LONG, {"--variant": "numba_fused", "--dims": "K=1024"}),
    Change(r"harness\.mutate", LONG, {"--most": "1", "--examples": "1", "--least": "0"}),
    Change(r"harness\.mutate.*--seed", "other seeds plant other bugs in the same way", {"--seed": "1"}),
    Change(r'^pytest -k "?attention', LONG, words=("--collect-only", "--quiet")),
    Change(r"^pytest -k", "collects every test first", words=("tests/kernels/test_battery.py",)),
    Change(r"^pytest tests/harness/cuda", LONG, {"-k": "layer_norm and warp"}),
    Change(r"^pytest -n 2 --dist worksteal", LONG, words=("tests/registry/test_dims.py",)),
    Change(r"^pytest", "the outer pytest has a cache", words=("-p", "no:cacheprovider")),
    Change(r"^ruff", "the whole project is checked by `make lint`", stand_ins={".": "registry"}),
    Change(r"^mypy", "the whole project is checked by `make lint`", words=("registry/dims.py",)),
    Change(r"--op rms_norm.*numba_mine", "the reader's own file", stand_ins={"numba_mine": "numba_rows"}),
    Change(r"kernels-path DIR", "the reader's own folder", stand_ins={"DIR": VARIANTS}),
    Change(r"kernels-path mine", "the reader's own folder", stand_ins={"mine": VARIANTS}),
    Change(r"^(?!.*(kernels-path|registry new)).*_mine", "the reader's own file", {"--kernels-path": VARIANTS}),
    Change(r"registry new ", "a test writes nothing into kernels/", {"--into": OUT}),
    Change(r"my\.txt", "the reader's own text", stand_ins={"my.txt": TEXT}),
    Change(r"--compare REV", "the reader's own revision", stand_ins={"REV": "HEAD"}),
)

GPU, NETWORK, MINUTES = "needs a GPU", "needs a network", "takes minutes"
# Commands that no test runs, by pattern: they need a GPU or a network, or even their small form takes minutes. In a block of
# code the page says so, in a comment behind the command.
NOT_RUN = {
    r"--device cuda": GPU,
    r"harness\.gpu_check|make gpu-check": GPU,
    r"^pip install": NETWORK,
}
# Commands that change the pages themselves, or that continue another command: the test named here runs them.
TESTED_ELSEWHERE = {
    r"--resume": "tests/trainer/test_resume.py",
    r"harness\.pages": "tests/house/test_readme.py",
    r"registry new-op": "tests/registry/test_scaffold.py",
}
