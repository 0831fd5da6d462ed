"""The arguments of a published training run: a JSON object, or the pickled argparse.Namespace, which is never run.

A pickle is a program. Here its few instructions that build plain values are followed by hand; whatever else it asks
for (imports, calls) ends the reading.
"""

from __future__ import annotations

import json
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models.core.errors import CheckpointError

MOST_BYTES = 1 << 20
NAMESPACE = "argparse Namespace"
MARK = object()

CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
LITERALS = {
    "BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "BINFLOAT", "FLOAT", "BINUNICODE", "SHORT_BINUNICODE",
    "UNICODE",
}  # fmt: skip
EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple}
STORES = {"BINPUT", "LONG_BINPUT", "PUT"}
LOADS = {"BINGET", "LONG_BINGET", "GET"}
SILENT = {"PROTO", "FRAME"}


class Global(str):
    """A name that the pickle wants imported; it stays a name."""

    __slots__ = ()


def read_arguments(path: Path) -> dict[str, Any]:
    """The arguments of a run from `args.json` or `args.pickle`.

    Raises CheckpointError for a file that holds anything but plain values.
    """
    if path.stat().st_size > MOST_BYTES:
        raise CheckpointError(f"{path.name} is larger than 1 MiB, so it holds more than arguments.")
    content = path.read_bytes()
    if content.lstrip()[:1] != b"{":
        return arguments_of_pickle(content, path.name)
    try:
        found = json.loads(content)
    except ValueError as error:
        raise CheckpointError(f"{path.name} is not valid JSON: {error}") from error
    return dict(found)


def arguments_of_pickle(content: bytes, name: str = "the pickle") -> dict[str, Any]:
    """The attributes of one pickled argparse.Namespace of plain values; raises CheckpointError for anything else."""
    try:
        found = followed(content)
    except (ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{name} is not a plain argparse.Namespace ({error}); give the arguments as args.json instead."
        ) from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{name} holds a {type(found).__name__}, not the arguments of a run.")
    return found


def followed(content: bytes) -> Any:
    """Build what a pickle of plain values describes. Raises ValueError at the first instruction that is not plain."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    for operation, argument, _ in pickletools.genops(content):
        name = operation.name
        if name in SILENT:
            continue
        if name == "STOP":
            return stack.pop()
        if name in CONSTANTS:
            stack.append(CONSTANTS[name])
        elif name in LITERALS:
            stack.append(argument)
        elif name in EMPTY:
            stack.append(EMPTY[name]())
        elif name == "MARK":
            stack.append(MARK)
        elif name in STORES:
            memo[int(argument or 0)] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in LOADS:
            stack.append(memo[int(argument or 0)])
        else:
            collect(name, argument, stack)
    raise ValueError("it has no end")


def above_mark(stack: list[Any]) -> list[Any]:
    """Take what lies above the last mark, and the mark."""
    place = max(k for k, value in enumerate(stack) if value is MARK)
    taken = stack[place + 1 :]
    del stack[place:]
    return taken


def collect(name: str, argument: Any, stack: list[Any]) -> None:
    """The instructions that put values together."""
    if name in ("TUPLE1", "TUPLE2", "TUPLE3"):
        count = int(name[-1])
        stack[-count:] = [tuple(stack[-count:])]
    elif name in ("TUPLE", "LIST"):
        stack.append({"TUPLE": tuple, "LIST": list}[name](above_mark(stack)))
    elif name in ("APPEND", "APPENDS"):
        values = [stack.pop()] if name == "APPEND" else above_mark(stack)
        stack[-1].extend(values)
    elif name in ("SETITEM", "SETITEMS", "DICT"):
        values = [stack.pop(-2), stack.pop()] if name == "SETITEM" else above_mark(stack)
        if name == "DICT":
            stack.append({})
        stack[-1].update(zip(values[::2], values[1::2], strict=True))
    elif name in ("GLOBAL", "STACK_GLOBAL"):
        wanted = argument if name == "GLOBAL" else " ".join([stack.pop(-2), stack.pop()])
        if wanted != NAMESPACE:
            raise ValueError(f"it asks for {wanted.replace(' ', '.')}")
        stack.append(Global(wanted))
    elif name in ("NEWOBJ", "BUILD"):  # an empty namespace, and the filling of it
        values, target = stack.pop(), stack.pop()
        if name == "NEWOBJ" and isinstance(target, Global) and values == ():
            stack.append({})
        elif name == "BUILD" and target == {} and isinstance(values, dict):
            stack.append(dict(values))
        else:
            raise ValueError(f"it builds a {type(target).__name__}")
    else:
        raise ValueError(f"it has the instruction {name}")
