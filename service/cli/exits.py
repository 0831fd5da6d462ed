"""Exit codes, and errors as one clear line."""

from __future__ import annotations

import functools
import os
import sys
import traceback
from collections.abc import Callable
from enum import IntEnum
from typing import Any

import typer
from rich.console import Console

from workers.problems import EquimolProblem

DEBUG_VARIABLE = "EQUIMOL_DEBUG"
_STOREYS = ("service", "workers", "models", "chemistry")


class Exit(IntEnum):
    """What the command tells the shell."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    INTERRUPTED = 130


class CommandError(Exception):
    """A failure with a message for the user; `code` is what the shell sees."""

    def __init__(self, message: str, code: Exit = Exit.FAILED) -> None:
        super().__init__(message)
        self.code = code


def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same command, with errors as one line on standard error (the whole trace with EQUIMOL_DEBUG=1)."""

    @functools.wraps(function)
    def command(*arguments: Any, **options: Any) -> Any:
        try:
            return function(*arguments, **options)
        except KeyboardInterrupt:
            raise typer.Exit(Exit.INTERRUPTED) from None
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except BrokenPipeError:
            # The reader of our output has left (`equimol models | head`): nothing more to say.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(Exit.DONE) from None
        except Exception as error:
            if not _expected(error):
                raise
            if os.environ.get(DEBUG_VARIABLE):
                traceback.print_exc()
            say_error(describe(error))
            raise typer.Exit(exit_code(error)) from None

    return command


def exit_code(error: Exception) -> Exit:
    """What the shell sees of an error."""
    if _unreachable(error):
        return Exit.UNREACHABLE
    return error.code if isinstance(error, CommandError) else Exit.FAILED


def say_error(message: str) -> None:
    """One error on standard error."""
    Console(stderr=True, highlight=False, soft_wrap=True).print("[bold red]error:[/bold red]", end=" ")
    Console(stderr=True, highlight=False, soft_wrap=True, markup=False).print(message)


def describe(error: Exception) -> str:
    """The words for an error: the detail of a problem, the file of an OSError, else its message."""
    if isinstance(error, EquimolProblem):
        return error.detail
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    if _unreachable(error):
        return f"{error}; start a service with `equimol serve`, or name another with --url"
    return str(error) or type(error).__name__


def _expected(error: Exception) -> bool:
    """Whether the error is one that its message explains; anything else is a fault and shows its trace.

    An error class of our own says what was given, what was wanted and what to do.
    """
    ours = type(error).__module__.partition(".")[0] in _STOREYS
    return ours or isinstance(error, OSError | ValueError)


def _unreachable(error: Exception) -> bool:
    from service.client.errors import UnreachableError  # loaded already by the commands that can raise it

    return isinstance(error, UnreachableError)
