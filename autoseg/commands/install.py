"""`autoseg install`."""

from __future__ import annotations

import argparse
import re
from argparse import ArgumentParser, Namespace

from . import _flags, _options

HELP = "check a model bundle from a file or an https address and install it"
EXAMPLES = (
    "autoseg install hippocampus.zip",
    "autoseg install https://example.org/hippocampus.zip",
)


def add_flags(command: ArgumentParser) -> None:
    command.add_argument("source", metavar="FILE|URL", help="a bundle that `autoseg export` wrote")
    command.add_argument(
        "--into", type=_flags.path, metavar="FOLDER", help="where to (default: the workspace's models)"
    )
    command.add_argument("--sha256", type=digest, metavar="DIGEST", help="of the zip, as its author published it")


def digest(text: str) -> str:
    """64 hexadecimal digits."""
    if not re.fullmatch(r"[0-9a-f]{64}", text.strip().lower()):
        raise argparse.ArgumentTypeError(f"{text!r} is no SHA-256, which has 64 digits 0-9 and a-f")
    return text.strip().lower()


def run(options: Namespace) -> None:
    from ..bundle.card import card
    from ..bundle.install import install
    from ..bundle.trained import read_trained
    from ..core.files import refuse_unwritable

    into, trusted = options.into or _options.workspace(options).models, tuple(options.trust)
    refuse_unwritable(into)
    folder = install(options.source, into, sha256=options.sha256, trusted=trusted)
    named, bundle = folder if options.into else folder.name, read_trained(folder, trusted=trusted)
    said = f"{card(bundle)}\n\nuse it: autoseg predict -m {named} -i IN -o OUT"
    options.console.result(said, bundle=folder, manifest=bundle.manifest)
