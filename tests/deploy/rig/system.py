"""The composed system as a user sets it up: a copy of the compose file and of docker/, setup.sh, a key, up."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx

from rig.engine import Engine, EngineError
from rig.images import ROOT
from service.client import Equimol

T = TypeVar("T")


class System:
    """One deployment. The compose file, setup.sh and all configuration are used as they are."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine, self.folder = engine, folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        ignored = shutil.ignore_patterns("secrets", "equimol.env")
        shutil.copytree(ROOT / "docker", folder / "docker", ignore=ignored)
        shutil.copy(ROOT / "docker-compose.yml", folder)
        self.port = _free_port()
        self.key = ""

    def set_up(self, **settings: str) -> None:
        """What docs/deployment.md tells to do before the first start."""
        self.engine.run("sh", str(self.folder / "docker" / "setup.sh"), "cpu")
        with (self.folder / ".env").open("a") as file:
            file.write(f"EQUIMOL_PORT={self.port}\n")
        lines = (f"{name}={value}\n" for name, value in settings.items())
        (self.folder / "docker" / "equimol.env").write_text("".join(lines))
        create = ("equimol", "keys", "create", "tester")
        # The key is all that the command writes to standard output, but the engine adds its own lines.
        output = self.compose("run", "--rm", "--no-deps", "-T", "api", *create)
        self.key = next(word for word in output.split() if word.startswith("eqm_"))

    def compose(self, *arguments: str, timeout: float = 180, **options: Any) -> str:
        """Run podman-compose in the deployment's folder."""
        command = (sys.executable, "-m", "podman_compose", *arguments)
        environment = {
            name: value
            for name, value in self.engine.environment.items()
            if not name.startswith(("EQUIMOL_", "COMPOSE_"))
        }
        return self.engine.run(*command, timeout=timeout, cwd=self.folder, env=environment, **options)

    def container(self, service: str) -> str:
        """The name of a service's (first) container."""
        label = f"label=io.podman.compose.service={service}"
        names = self.engine.podman("ps", "--all", "--filter", label, "--format", "{{.Names}}").split()
        if not names:
            raise EngineError(f"there is no container of the service {service}")
        return sorted(names)[0]

    def containers(self) -> dict[str, dict[str, Any]]:
        """What podman knows about every running container, by service."""
        names = self.engine.podman("ps", "--format", "{{.Names}}").split()
        found = [self.engine.inspect(name) for name in names]
        return {each["Config"]["Labels"]["io.podman.compose.service"]: each for each in found}

    def crash(self, service: str) -> None:
        """kill -9 of the container's first process, from outside, as the kernel does when memory runs out.

        Everything in the container dies with it.
        """
        os.kill(self.engine.inspect(self.container(service))["State"]["Pid"], signal.SIGKILL)

    def restarts(self, service: str) -> int:
        """How often the engine started the container again by itself."""
        return int(self.engine.inspect(self.container(service))["RestartCount"])

    def http(self) -> httpx.Client:
        """A bare HTTP client without the key."""
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30)

    def client(self) -> Equimol:
        """The project's client with the key; it rides out a restart."""
        return Equimol(f"http://127.0.0.1:{self.port}", key=self.key, retries=8)

    def ready(self, workers: int = 2) -> bool:
        """Whether the API accepts jobs and so many workers have loaded what they need."""
        try:
            with self.http() as http:
                http.headers["Authorization"] = f"Bearer {self.key}"
                answer = http.get("/v1/status")
        except httpx.TransportError:
            return False
        return answer.is_success and sum(each["ready"] for each in answer.json()["workers"]) >= workers

    def logs(self) -> str:
        """The last lines of every container, for the report of a failed test."""
        names = self.engine.podman("ps", "--all", "--format", "{{.Names}}").split()
        return "\n".join(f"--- {name}\n" + self._log(name) for name in names)

    def _log(self, name: str) -> str:
        return self.engine.run("sh", "-c", f"podman logs --tail 40 {name} 2>&1", check=False)


def wait_until(condition: Callable[[], T], seconds: float, what: str, pause: float = 0.5) -> T:
    """What `condition` answers as soon as it is true. Raises TimeoutError that says what did not happen."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = condition()
        if answer:
            return answer
        time.sleep(pause)
    raise TimeoutError(f"{what} did not happen within {seconds:g} s")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
