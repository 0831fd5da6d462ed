"""Where results lie: one folder per job under a local folder or any fsspec URL.

Files appear whole or not at all.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from workers.ids import is_id
from workers.problems import NotFound
from workers.settings import Settings


class ResultFiles:
    """The job folders: ROOT/JOB/{input.*, shards/NNNN-TOKEN/..., molecules.sdf, ..., manifest.json}."""

    def __init__(self, root: str) -> None:
        from fsspec.core import url_to_fs
        from fsspec.implementations.local import LocalFileSystem

        self.fs, self.root = url_to_fs(root)
        self.local = isinstance(self.fs, LocalFileSystem)

    @classmethod
    def connect(cls, settings: Settings) -> ResultFiles:
        """The files at `settings.results_root`."""
        return cls(settings.results_root)

    def path(self, job_id: str, name: str = "") -> str:
        """The path of a job's file; ids and names are checked, so nothing leaves the job's folder."""
        if not is_id(job_id) or ".." in name.split("/"):
            raise NotFound(f"there is no file {name!r} of job {job_id[:40]!r}")
        return f"{self.root}/{job_id}/{name}".rstrip("/")

    @contextmanager
    def write(self, job_id: str, name: str) -> Iterator[HashingWriter]:
        """A new file, seen under its name only after it is whole and on disk; on an error nothing remains."""
        target = self.path(job_id, name)
        if not self.local:  # object stores show an upload only when it is complete
            with self.fs.open(target, "wb") as remote:
                yield HashingWriter(cast("IO[bytes]", remote))
            return
        folder = Path(target).parent
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{Path(target).name}.{uuid.uuid4().hex}"
        try:
            with temporary.open("wb") as file:
                yield HashingWriter(file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
            _sync_folder(folder)
        finally:
            temporary.unlink(missing_ok=True)

    def write_bytes(self, job_id: str, name: str, data: bytes) -> str:
        """A small file at once; returns its sha256."""
        with self.write(job_id, name) as file:
            file.write(data)
        return file.sha256

    def open(self, job_id: str, name: str) -> IO[bytes]:
        """A file to read, with seek. Raises NotFound."""
        try:
            return cast("IO[bytes]", self.fs.open(self.path(job_id, name), "rb"))
        except FileNotFoundError:
            raise NotFound(f"job {job_id} has no file {name}") from None

    def read(self, job_id: str, name: str, start: int = 0, length: int | None = None) -> bytes:
        """A file, or `length` bytes of it from `start`. Raises NotFound."""
        with self.open(job_id, name) as file:
            file.seek(start)
            return file.read() if length is None else file.read(length)

    def stream(self, job_id: str, name: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """A file, or a range of it, in pieces of 64 KiB. Raises NotFound at the first piece."""
        with self.open(job_id, name) as file:
            file.seek(start)
            left = length
            while left is None or left > 0:
                piece = file.read(65_536 if left is None else min(65_536, left))
                if not piece:
                    return
                left = None if left is None else left - len(piece)
                yield piece

    def exists(self, job_id: str, name: str) -> bool:
        """Whether the file is there."""
        return bool(self.fs.exists(self.path(job_id, name)))

    def size(self, job_id: str, name: str) -> int:
        """Its bytes. Raises NotFound."""
        try:
            return int(self.fs.size(self.path(job_id, name)))
        except FileNotFoundError:
            raise NotFound(f"job {job_id} has no file {name}") from None

    def folders(self, job_id: str, name: str) -> list[str]:
        """The names of the folders inside one of the job's folders."""
        path = self.path(job_id, name)
        if not self.fs.isdir(path):
            return []
        return sorted(
            entry["name"].rsplit("/", 1)[-1]
            for entry in self.fs.ls(path, detail=True)
            if entry["type"] == "directory"
        )

    def delete(self, job_id: str, name: str = "") -> None:
        """Remove a file, a folder or the whole job; nothing there is fine."""
        path = self.path(job_id, name)
        try:
            self.fs.rm(path, recursive=True)
        except FileNotFoundError:
            return

    def jobs(self) -> list[str]:
        """The ids that have a folder."""
        if not self.fs.isdir(self.root):
            return []
        names = (entry["name"].rsplit("/", 1)[-1] for entry in self.fs.ls(self.root, detail=True))
        return sorted(name for name in names if is_id(name))


class HashingWriter:
    """Writes bytes, counts them and hashes them on the way."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.bytes = 0

    def write(self, data: bytes) -> int:
        """Append; returns the position where the data starts."""
        start = self.bytes
        self._file.write(data)
        self._hash.update(data)
        self.bytes += len(data)
        return start

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
