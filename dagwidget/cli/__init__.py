"""The command line, a module a command."""

from .main import main

__all__ = ["main"]
