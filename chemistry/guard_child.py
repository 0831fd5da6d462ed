"""The program that a guard's child runs: read a call, make it, write its answer, until the pipe closes.

It is run by path and imports only the standard library until the first message tells where modules are.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import math
import os
import pickle
import resource
import struct
import sys

HEADER = struct.Struct("<Q")


def send(descriptor: int, message: bytes) -> None:
    """Write one length-prefixed message. Raises OSError."""
    rest = memoryview(HEADER.pack(len(message)) + message)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def main() -> None:
    """Serve until the other end closes the pipe."""
    # The real stdout carries answers; whatever the called code prints must not reach it.
    answers = os.dup(1)
    os.dup2(2, 1)
    settings = _receive()
    sys.path[:], memory_bytes, modules = pickle.loads(settings)
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for module in modules:
        with contextlib.suppress(Exception):  # the call that needs it will say what is wrong
            importlib.import_module(module)
    send(answers, pickle.dumps(("ready", None)))
    while True:
        send(answers, _answer(_receive()))


def _answer(message: bytes) -> bytes:
    try:
        stream = io.BytesIO(message)
        timeout = pickle.load(stream)
        _limit_processor_time(timeout)
        function, args, kwargs = pickle.load(stream)
        return pickle.dumps(("value", function(*args, **kwargs)), protocol=pickle.HIGHEST_PROTOCOL)
    except MemoryError:
        return pickle.dumps(("memory", None))
    except Exception as error:
        return _packed_error(error)


def _packed_error(error: Exception) -> bytes:
    try:
        packed = pickle.dumps(("error", error))
        pickle.loads(packed)  # some exceptions pickle but do not unpickle
    except Exception:
        return pickle.dumps(("error", RuntimeError(f"{type(error).__name__}: {error}")))
    return packed


def _limit_processor_time(seconds: float) -> None:
    """Let the kernel end this process should the parent die while a call hangs."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    soft = math.ceil(usage.ru_utime + usage.ru_stime + seconds) + 1
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(
        resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard)
    )


def _receive() -> bytes:
    header = _read(HEADER.size)
    (size,) = HEADER.unpack(header)
    return _read(size)


def _read(size: int) -> bytes:
    """Exactly `size` bytes of stdin; ends the program when the pipe is closed."""
    pieces = []
    while size:
        piece = os.read(0, min(size, 2**20))
        if not piece:
            sys.exit(0)
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


if __name__ == "__main__":
    main()
