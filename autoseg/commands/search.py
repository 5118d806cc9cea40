"""`autoseg search`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from . import _flags, _options

HELP = "try plans around the planner's own for a given time, and tell which are worth it"
EXAMPLES = (
    "autoseg search Hippocampus --time 1h",
    "autoseg search Hippocampus --time 6h --network residual_unet",
    "autoseg search Hippocampus --take t7_300s",
)


def add_flags(command: ArgumentParser) -> None:
    command.add_argument("dataset", type=_flags.word, metavar="DATASET")
    _flags.add_configuration(command, "2d, 3d_fullres, ... (default: the plan's default)")
    command.add_argument(
        "--time",
        type=_flags.seconds,
        metavar="TIME",
        help="of all trainings together, for example 1h; the longest has a twelfth of it",
    )
    command.add_argument(
        "--fold", default="0", type=_flags.word, metavar="N", help="whose validation cases are kept aside (default: 0)"
    )
    command.add_argument(
        "--network",
        action="append",
        default=[],
        type=_flags.word,
        metavar="NAME",
        help="try this network, too; repeatable (default: the planner's own)",
    )
    command.add_argument("--take", type=_flags.word, metavar="PLAN", help="add a plan that was found to the dataset's")
    _flags.add_machine(command)


def run(options: Namespace) -> None:
    from ..errors import UsageError
    from ..pipeline import search as story
    from ..pipeline.search_front import front_table
    from ..pipeline.search_place import Search, take

    files = _options.dataset_folder(options, writing=True)
    if options.take:
        take(files, options.fold, options.take)
        options.console.result(f"`autoseg train {files.root.name} cv -c {options.take}` trains it", plan=options.take)
        return
    if options.time is None:
        raise UsageError("--time says how long to search, for example --time 1h")
    networks, settings = tuple(options.network), _options.settings(options)
    asked = Search(files, options.time, options.fold, options.configuration, networks, settings)
    found = story.search(asked)
    table = asked.root.root / "front.csv"
    options.console.result(front_table(found), folder=asked.root.root, table=table, found=found)
