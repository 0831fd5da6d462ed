"""The composed system on podman, built and started once for all deployment tests.

EQUIMOL_DEPLOY_FOLDER keeps the engine's storage there, so that a second run need not build everything again.
EQUIMOL_DEPLOY_REQUIRED=1 makes it a failure, not a skip, when the machine cannot run podman.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # the package rig

from rig import images  # noqa: E402
from rig.engine import Engine, EngineError, obstruction  # noqa: E402
from rig.system import System, wait_until  # noqa: E402


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    asked_for = "deploy" in str(config.getoption("markexpr"))
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.deploy)
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.timeout(2700))
            if not asked_for:
                item.add_marker(
                    pytest.mark.skip(reason="builds images and starts containers: make test-deploy")
                )


def _give_up(reason: str) -> None:
    text = f"the composed system cannot be tested on this machine: {reason}"
    if os.environ.get("EQUIMOL_DEPLOY_REQUIRED"):
        pytest.fail(text)
    pytest.skip(text)


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """podman with its own storage, all images built; afterwards nothing of it remains."""
    reason = obstruction()
    if reason:
        _give_up(reason)
    kept = os.environ.get("EQUIMOL_DEPLOY_FOLDER")
    # Not pytest's folders: the engine's paths must be short, and overlay storage lies badly in a tmpfs.
    folder = Path(kept) if kept else Path(tempfile.mkdtemp(prefix="equimol-deploy-", dir="/var/tmp"))
    engine = Engine(folder, kept=bool(kept))
    try:
        try:
            images.make_python_base(engine)
        except EngineError as error:
            _give_up(f"no base image could be made: {error}")
        reason = images.probe(engine)
        if reason:
            _give_up(f"podman does not run containers here: {reason}")
        images.make_valkey_base(engine)
        images.build_ours(engine)
        yield engine
    finally:
        if not kept:
            engine.remove_everything()
            engine.run("rm", "-rf", str(folder), timeout=600)


@pytest.fixture(scope="session")
def system(engine: Engine) -> Iterator[System]:
    """The composed system, ready for jobs. Small shards, so that killing a worker hits a job in the middle."""
    engine.remove_containers()
    system = System(engine, engine.folder / "deployment")
    try:
        system.set_up(EQUIMOL_SHARD_SIZE="16")
        system.compose("up", "--detach", "--no-build")
        wait_until(system.ready, 240, "a ready API with two ready workers")
        yield system
    except TimeoutError as error:
        pytest.fail(f"{error}\n{system.logs()}")
    finally:
        system.compose("down", "--volumes", check=False)
        engine.remove_containers()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    report = yield
    system = getattr(item, "funcargs", {}).get("system")
    if report.failed and system is not None:
        report.sections.append(("containers", system.logs()))
    return report
