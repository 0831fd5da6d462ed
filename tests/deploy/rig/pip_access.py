"""Lets pip inside a build use the wheel folders, mirrors and certificates that pip uses on this machine.

The Dockerfiles know nothing of it: it comes in through the builder's options.
"""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

_KEYS = ("cert", "default-timeout", "extra-index-url", "find-links", "index-url", "proxy", "trusted-host")
_CERTIFICATE = "/opt/host-certificates.crt"


def builder_options(folder: Path) -> list[str]:
    """Options for `buildah build`; `folder` takes the configuration and stays until the build has ended."""
    values = _host_configuration()
    mounts: list[str] = []
    if "cert" in values and Path(values["cert"]).is_file():
        copy = folder / "certificates.crt"
        shutil.copyfile(values["cert"], copy)
        mounts.append(f"{copy}:{_CERTIFICATE}:ro")
        values["cert"] = _CERTIFICATE
    for value in (
        values.get("find-links", ""),
        values.get("extra-index-url", ""),
        values.get("index-url", ""),
    ):
        mounts += [f"{place}:{place}:ro" for place in _local_folders(value)]
    configuration = folder / "pip.conf"
    lines = [f"{key} = " + "\n    ".join(value.split()) for key, value in sorted(values.items())]
    configuration.write_text("[global]\n" + "\n".join(lines) + "\n")
    mounts.append(f"{configuration}:/etc/pip.conf:ro")
    return [part for mount in dict.fromkeys(mounts) for part in ("--volume", mount)]


def _host_configuration() -> dict[str, str]:
    """pip's own view of its configuration; environment variables win over files."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    values: dict[str, str] = {}
    for line in sorted(text.splitlines(), key=lambda line: line.startswith(":env:")):
        name, _, value = line.partition("=")
        key = name.rsplit(".", 1)[-1]
        if key in _KEYS:
            values[key] = str(ast.literal_eval(value))
    return values


def _local_folders(value: str) -> list[Path]:
    """The folders that a list of paths and file addresses needs; an index links to files beside it."""
    found = []
    for word in value.split():
        parts = urlsplit(word)
        place = Path(parts.path).parent if parts.scheme == "file" else Path(word)
        if parts.scheme in ("", "file") and place.is_dir() and place != Path("/"):
            found.append(place)
    return found
