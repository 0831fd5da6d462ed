"""Where the HTTP face keeps its own files."""

from __future__ import annotations

from pathlib import Path

from workers.settings import Settings


def data_folder(settings: Settings) -> Path:
    """The data folder, as an absolute path."""
    return settings.data_folder.expanduser().resolve()


def keys_file(settings: Settings) -> Path:
    """The file of API keys; a missing file means that there are none."""
    return (settings.keys_file or data_folder(settings) / "keys.json").expanduser().resolve()
