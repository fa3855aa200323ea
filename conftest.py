"""The battery in pytest: its options, one test per variant that this machine can run, and a list of unloadable files."""

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
    """Add the options that choose the variants, and the number and the seed of their problems."""
    group = parser.getgroup("crucible", "the battery")
    group.addoption("--op", metavar="PATTERN", help="run only the battery, for this op, family or glob")
    group.addoption("--variant", metavar="A,B", help="run only the battery, for these variants")
    group.addoption(
        "--kernels-path", type=as_folder, action="append", default=[], metavar="DIR", help="a folder of more variants"
    )
    group.addoption("--profile", default="dev", choices=PROFILES, help="how many problems are drawn (default: dev)")
    group.addoption(
        "--seed", type=int, default=0, metavar="N", help="the seed of the drawn problems, unless the profile is derandomised"
    )


def pytest_configure(config):
    """Load the profile for every property test, and refuse wrong names before the collection of tests."""
    register_profiles()
    hypothesis.settings.load_profile(config.getoption("--profile"))
    if config.getoption("--op") or config.getoption("--variant") or config.getoption("--kernels-path"):
        _chosen(config)


def pytest_report_header(config):
    """Show the profile and the seed, so that the run can be repeated."""
    profile, seed = config.getoption("--profile"), config.getoption("--seed")
    drawn = "the same problems each time" if PROFILES[profile].derandomised else f"seed {seed} (another: --seed N)"
    return f"crucible: profile {profile}, {drawn}"


def _table(config) -> Table:
    if table_key not in config.stash:
        config.stash[sources_key] = Snapshot(tuple(config.getoption("--kernels-path")))  # before a variant is imported
        config.stash[table_key] = discover(*config.getoption("--kernels-path"))
    return config.stash[table_key]


def _chosen(config):
    """Return the variants that the options choose. A wrong name is a usage error in one line."""
    try:
        table = _table(config)
        return table.select(table.select_ops(config.getoption("--op") or "all"), config.getoption("--variant"))
    except CrucibleError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_generate_tests(metafunc):
    """Make one battery test per variant, and per file of --kernels-path that could not be loaded. Its id holds op and name."""
    if BATTERY in metafunc.fixturenames:
        config = metafunc.config
        variants = {f"{v.op.name}-{v.name}": v for v in _chosen(config)}
        failed = [f for f in _unloadable(config, config.getoption("--variant")) if not is_own(f.path)]
        names = [f"{f.op or 'unknown'}-{f.name}" for f in failed]
        metafunc.parametrize(BATTERY, [*variants.values(), *failed], ids=[*variants, *names])


def _is_narrowed(config):
    """Return whether an option names an op or a variant."""
    return bool(config.getoption("--op") or config.getoption("--variant"))


def pytest_ignore_collect(collection_path, config):
    """Import no other tests if an option names an op or a variant: the imports would take longer than the battery."""
    return True if _is_narrowed(config) and collection_path.suffix == ".py" and collection_path.name != BATTERY_FILE else None


def pytest_collection_modifyitems(config, items):
    """Deselect all other tests if an option names an op or a variant."""
    if not _is_narrowed(config):
        return
    kept = [i for i in items if BATTERY in getattr(i, "fixturenames", ())]
    config.hook.pytest_deselected(items=[i for i in items if i not in kept])
    items[:] = kept


def pytest_terminal_summary(terminalreporter, config):
    """List the files that could not be loaded, of the ops that --op names."""
    if table_key not in config.stash:
        return
    unloadable = _unloadable(config)
    if unloadable:
        terminalreporter.section("variants that could not be loaded")
    for failed in unloadable:
        terminalreporter.line(str(failed))


def _unloadable(config, names=None):
    """Return the files that could not be loaded, of the ops that --op names."""
    table = _table(config)
    return table.unloadable_of(table.select_ops(config.getoption("--op") or "all"), names)


@pytest.fixture(scope="session")
def table(request):
    """Return every op and variant, with the variants of --kernels-path."""
    return _table(request.config)


@pytest.fixture(scope="session")
def plan(request):
    """Return the plan of the proofs by the options."""
    option = request.config.getoption
    paths, sources = tuple(option("--kernels-path")), request.config.stash.get(sources_key, None)
    return Plan(profile=option("--profile"), seed=option("--seed"), kernels_path=paths, sources=sources)


@pytest.fixture(scope="session")
def worker(plan):
    """Start the process that calls the variants."""
    with Worker(plan.kernels_path, sources=plan.sources) as process:
        yield process


@pytest.fixture(scope="session")
def helpers(plan, request):
    """Start a second worker for the problems of a variant, unless another process of pytest uses the core."""
    alone = not hasattr(request.config, "workerinput")
    with Worker(plan.kernels_path, sources=plan.sources) as process:
        yield [process] if alone and thread_count() > 1 else []


@pytest.fixture(scope="session")
def reference_cache(request):
    """Share reference outputs among the variants of an op; store them on disk if the options name an op or a variant."""
    folder = cache_folder() if _is_narrowed(request.config) else None
    with ReferenceProcess(folder) as process, ReferenceCache([process.compute_reference]) as cache:
        yield cache
