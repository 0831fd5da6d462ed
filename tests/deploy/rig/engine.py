"""podman, buildah and podman-compose with storage, settings and networks of their own."""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

_PROGRAMS = ("podman", "buildah", "runc", "debootstrap", "iptables", "tar")
_HELPERS = ("netavark", "aardvark-dns", "catatonit")
_HELPER_FOLDERS = ("/usr/lib/podman", "/usr/libexec/podman", "/usr/bin")


class EngineError(RuntimeError):
    """A command of the engine failed; the message has its last words."""


def obstruction() -> str | None:
    """Why this machine cannot run the composed system, or None."""
    if sys.platform != "linux":
        return "it needs Linux"
    if os.geteuid() != 0:
        return "it needs root (debootstrap, bridge networks)"
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    missing += [
        name for name in _HELPERS if not any((Path(folder) / name).exists() for folder in _HELPER_FOLDERS)
    ]
    if missing:
        return f"these programs are missing: {', '.join(missing)}"
    if importlib.util.find_spec("podman_compose") is None:
        return "the Python package podman-compose is missing"
    return None


class Engine:
    """Everything under one folder, so that nothing of the machine's own containers is touched."""

    def __init__(self, folder: Path, *, kept: bool = False) -> None:
        self.folder, self.kept = folder, kept
        settings = folder / "settings"
        for name in ("settings", "networks", "tmp"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        # runc and cgroupfs, because crun refuses the hybrid cgroups that many CI machines have; low limits of
        # open files, because raising them needs a capability that such machines lack.
        (settings / "containers.conf").write_text(
            "[containers]\n"
            'default_ulimits = ["nofile=1024:4096", "nproc=4096:4096"]\n'
            "[engine]\n"
            'runtime = "runc"\n'
            'cgroup_manager = "cgroupfs"\n'
            'events_logger = "file"\n'
            f'tmp_dir = "{folder}/tmp/libpod"\n'
            "[network]\n"
            'network_backend = "netavark"\n'
            f'network_config_dir = "{folder}/networks"\n'
        )
        (settings / "storage.conf").write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/storage"\nrunroot = "{folder}/run"\n'
        )
        self.environment = os.environ | {
            "CONTAINERS_CONF": str(settings / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(settings / "storage.conf"),
            "BUILDAH_RUNTIME": shutil.which("runc") or "runc",
            "TMPDIR": str(folder / "tmp"),
        }
        self._chains_before = _netavark_chains()

    def run(self, *command: str, timeout: float = 120, check: bool = True, **options: Any) -> str:
        """Standard output of a command. Raises EngineError when it fails or takes too long."""
        options = {"env": self.environment} | options
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, **options)
        except subprocess.TimeoutExpired as error:
            raise EngineError(f"{' '.join(command[:4])} took longer than {timeout:g} s") from error
        if check and done.returncode != 0:
            words = (done.stdout + done.stderr).strip()[-3000:]
            raise EngineError(f"{' '.join(command)} ended with {done.returncode}:\n{words}")
        return done.stdout

    def podman(self, *arguments: str, **options: Any) -> str:
        """Run podman."""
        return self.run("podman", *arguments, **options)

    def inspect(self, container: str) -> dict[str, Any]:
        """What podman knows about a container."""
        found: dict[str, Any] = json.loads(self.podman("container", "inspect", container))[0]
        return found

    def execute(self, container: str, *command: str, **options: Any) -> str:
        """Run a command in a container."""
        return self.podman("exec", container, *command, **options)

    def remove_containers(self) -> None:
        """All containers with their volumes; a container that others depend on goes after them."""
        for _ in range(5):
            if not self.podman("ps", "--all", "--quiet").strip():
                break
            self.podman("rm", "--all", "--force", "--volumes", "--time", "2", check=False)
        self.podman("volume", "prune", "--force")

    def remove_everything(self) -> None:
        """Containers, images, volumes and networks of this engine, and the firewall chains it made."""
        try:
            self.podman("system", "reset", "--force", timeout=300)
        finally:
            _drop_chains(_netavark_chains() - self._chains_before)


def _netavark_chains() -> set[tuple[str, str]]:
    """(table, chain) of all firewall chains of podman's networks."""
    found = set()
    for table in ("nat", "filter"):
        for words in _rules(table):
            if words[0] == "-N" and words[1].startswith("NETAVARK"):
                found.add((table, words[1]))
    return found


def _drop_chains(chains: set[tuple[str, str]]) -> None:
    for table in ("nat", "filter"):
        ours = {chain for owner, chain in chains if owner == table}
        for words in _rules(table):
            if words[0] == "-A" and words[1] not in ours and ours & set(words):
                _iptables(table, "-D", *words[1:])
        for chain in ours:
            _iptables(table, "-F", chain)
        for chain in ours:
            _iptables(table, "-X", chain)


def _rules(table: str) -> list[list[str]]:
    done = subprocess.run(["iptables", "-t", table, "-S"], capture_output=True, text=True, check=False)
    return [shlex.split(line) for line in done.stdout.splitlines() if line]


def _iptables(table: str, *words: str) -> None:
    subprocess.run(["iptables", "-t", table, *words], capture_output=True, check=False)
