"""Builds the command line from the table, imports the one command called, and reports errors as one line."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from service.cli.exits import guarded
from service.cli.table import COMMANDS, GROUPS, PANELS
from workers.version import __version__

_HELP = """Generate, complete and score 3D molecules.

New here? Run **equimol demo**. For a service of your own, run **equimol serve** and open the address
it prints. The commands under "Use a service" talk to http://127.0.0.1:8000 unless --url or EQUIMOL_URL
says otherwise.
"""
_EXITS = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no service at that address, 130 interrupted."


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `equimol`."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    build(given)(args=given, prog_name="equimol")


def build(arguments: Sequence[str]) -> typer.Typer:
    """The command line; only the command that `arguments` call is real, the others are their help lines."""
    words = [word for word in arguments if not word.startswith("-")][:2]
    app = typer.Typer(
        name="equimol",
        help=_HELP,
        epilog=_EXITS,
        rich_markup_mode="markdown",
        add_completion=False,
        pretty_exceptions_enable=False,  # logs are read by people and machines: plain traces
        no_args_is_help=True,
    )
    app.callback()(_top)
    groups: dict[str, typer.Typer] = {}
    for name, (target, summary) in COMMANDS.items():
        group, _, command = name.rpartition(" ")
        called = words[:1] == [name] or (bool(group) and words == [group, command])
        function = guarded(load(target)) if called else _stub
        parent = app
        if group:
            if group not in groups:
                groups[group] = typer.Typer(
                    help=GROUPS[group], no_args_is_help=True, rich_markup_mode="markdown"
                )
                app.add_typer(groups[group], name=group, rich_help_panel=_panel(group))
            parent = groups[group]
        parent.command(
            command,
            help=None if called and function.__doc__ else summary,
            short_help=summary,
            rich_help_panel=None if group else _panel(name),
        )(function)
    return app


def load(target: str) -> Callable[..., Any]:
    """The function that "module:function" names."""
    module, _, name = target.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function


def _panel(name: str) -> str | None:
    return next((panel for panel, names in PANELS.items() if name in names), None)


def _stub() -> None:
    raise RuntimeError("a command that was not called has been run")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"equimol {__version__}")
        raise typer.Exit


def _top(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    pass
