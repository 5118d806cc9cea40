"""`autoseg completion`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from ..errors import UsageError

HELP = "print what makes a shell complete commands and flags at the press of Tab"
EXAMPLES = (
    "autoseg completion bash > ~/.local/share/bash-completion/completions/autoseg",
    "autoseg completion zsh > ~/.zfunc/_autoseg",
    "autoseg completion tcsh > ~/.autoseg.completion.csh",
)
SHELLS = ("bash", "zsh", "tcsh")


def add_flags(command: ArgumentParser) -> None:
    command.add_argument("shell", choices=SHELLS, metavar="SHELL", help=f"one of {', '.join(SHELLS)}")


def run(options: Namespace) -> None:
    try:
        from shtab import complete
    except ImportError:
        raise UsageError("completion needs the package shtab: `pip install 'autoseg[completion]'`") from None
    script = complete(options.parser, options.shell)
    options.console.result(script, shell=options.shell, script=script)
