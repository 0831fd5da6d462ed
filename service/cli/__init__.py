"""The command `equimol`."""

from service.cli.main import main

__all__ = ["main"]
