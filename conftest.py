"""What pytest asks of the battery: options, one test per variant that this machine can run, and what could not be loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import hypothesis
import pytest

from harness.proof.plan import Plan, register_profiles
from harness.proof.reference.cache import ReferenceCache
from harness.proof.reference.process import ReferenceProcess, cache_folder
from harness.proof.sandbox.client import Worker
from registry.cli import as_folder
from registry.errors import CrucibleError
from registry.fingerprint import Snapshot
from registry.machine import thread_count
from registry.paths import is_own
from registry.profiles import PROFILES
from registry.table import discover

if TYPE_CHECKING:
    from registry.table import Table

BATTERY = "variant_under_test"
BATTERY_FILE = "test_battery.py"
table_key = pytest.StashKey["Table"]()
sources_key = pytest.StashKey[Snapshot]()


def pytest_addoption(parser):
    """Add the options that choose what the battery runs and how hard it tries."""
    group = parser.getgroup("crucible", "the battery")
    group.addoption("--op", metavar="PATTERN", help="run the battery for this op, family or glob, and nothing else")
    group.addoption("--variant", metavar="A,B", help="run the battery for these variants, and nothing else")
    group.addoption(
        "--kernels-path", type=as_folder, action="append", default=[], metavar="DIR", help="a folder of more variants"
    )
    group.addoption("--profile", default="dev", choices=PROFILES, help="how much is drawn (default: dev)")
    group.addoption(
        "--seed", type=int, default=0, metavar="N", help="of the drawn problems, unless the profile is derandomised"
    )


def pytest_configure(config):
    """Load the profile for every property test, and refuse wrong names before anything is collected."""
    register_profiles()
    hypothesis.settings.load_profile(config.getoption("--profile"))
    if config.getoption("--op") or config.getoption("--variant") or config.getoption("--kernels-path"):
        _chosen(config)


def pytest_report_header(config):
    """Say what is drawn, so that a run can be had again."""
    profile, seed = config.getoption("--profile"), config.getoption("--seed")
    drawn = "the same problems each time" if PROFILES[profile].derandomised else f"seed {seed} (another: --seed N)"
    return f"crucible: profile {profile}, {drawn}"


def _table(config) -> Table:
    if table_key not in config.stash:
        config.stash[sources_key] = Snapshot(tuple(config.getoption("--kernels-path")))  # before any of them is imported
        config.stash[table_key] = discover(*config.getoption("--kernels-path"))
    return config.stash[table_key]


def _chosen(config):
    """Return the variants that the options stand for; a wrong name is a usage error in one line."""
    try:
        table = _table(config)
        return table.select(table.select_ops(config.getoption("--op") or "all"), config.getoption("--variant"))
    except CrucibleError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_generate_tests(metafunc):
    """Make one battery test per variant; its id holds the op and the variant for ``-k``."""
    if BATTERY in metafunc.fixturenames:
        variants = _chosen(metafunc.config)
        metafunc.parametrize(BATTERY, variants, ids=[f"{v.op.name}-{v.name}" for v in variants])


def _is_narrowed(config):
    """Return whether an op or a variant was asked for."""
    return bool(config.getoption("--op") or config.getoption("--variant"))


def pytest_ignore_collect(collection_path, config):
    """Import no other tests where an op or a variant was asked for: that would take longer than the battery."""
    return True if _is_narrowed(config) and collection_path.suffix == ".py" and collection_path.name != BATTERY_FILE else None


def pytest_collection_modifyitems(config, items):
    """Keep the battery alone where an op or a variant was asked for."""
    if not _is_narrowed(config):
        return
    kept = [i for i in items if BATTERY in getattr(i, "fixturenames", ())]
    config.hook.pytest_deselected(items=[i for i in items if i not in kept])
    items[:] = kept


def pytest_terminal_summary(terminalreporter, config):
    """Name the files that could not be loaded, wherever they lie; with --op, those of the named ops."""
    if table_key not in config.stash:
        return
    unloadable = _unloadable(config)
    if unloadable:
        terminalreporter.section("variants that could not be loaded")
    for failed in unloadable:
        terminalreporter.line(str(failed))


def pytest_sessionfinish(session, exitstatus):
    """Let a run fail in which a file of --kernels-path that was asked for could not be loaded, as `harness.verify` does."""
    config = session.config
    if exitstatus != pytest.ExitCode.OK or not config.getoption("--kernels-path") or table_key not in config.stash:
        return
    chosen, keyword = config.getoption("--variant"), config.getoption("-k")
    asked = [f for f in _unloadable(config, chosen) if not is_own(f.path) and (not keyword or f.name in keyword)]
    if asked:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _unloadable(config, names=None):
    """Return the files that could not be loaded; with --op, those of the named ops."""
    table = _table(config)
    return table.unloadable_of(table.select_ops(config.getoption("--op") or "all"), names)


@pytest.fixture(scope="session")
def table(request):
    """Return every op and variant, those of --kernels-path included."""
    return _table(request.config)


@pytest.fixture(scope="session")
def plan(request):
    """Return what the options say about drawing."""
    option = request.config.getoption
    paths, sources = tuple(option("--kernels-path")), request.config.stash.get(sources_key, None)
    return Plan(profile=option("--profile"), seed=option("--seed"), kernels_path=paths, sources=sources)


@pytest.fixture(scope="session")
def worker(plan):
    """Start the process in which variants are called."""
    with Worker(plan.kernels_path, sources=plan.sources) as made:
        yield made


@pytest.fixture(scope="session")
def helpers(plan, request):
    """Start another one to share a variant's problems, unless another process of pytest uses the core."""
    alone = not hasattr(request.config, "workerinput")
    with Worker(plan.kernels_path, sources=plan.sources) as made:
        yield [made] if alone and thread_count() > 1 else []


@pytest.fixture(scope="session")
def reference_cache(request):
    """Share reference outputs among the variants of an op; store them on disk if the options name an op or a variant."""
    folder = cache_folder() if _is_narrowed(request.config) else None
    with ReferenceProcess(folder) as process, ReferenceCache([process.compute_reference]) as made:
        yield made
