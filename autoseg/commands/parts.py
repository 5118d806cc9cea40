"""`autoseg parts`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from ..errors import UsageError
from . import _flags, _options

HELP = "list every part: networks, losses, baselines, metrics, ...; of networks also what they cost"
EXAMPLES = (
    "autoseg parts",
    "autoseg parts losses",
    "autoseg parts networks -d Hippocampus",
)


def add_flags(command: ArgumentParser) -> None:
    command.add_argument("family", nargs="?", type=_flags.word, metavar="FAMILY", help="only this one (default: all)")
    command.add_argument(
        "-d",
        "--dataset",
        type=_flags.word,
        metavar="DATASET",
        help="with networks: parameters, memory and seconds per step with the patch and batch of its plan",
    )
    _flags.add_configuration(command, "of the plan (default: the plan's default)")
    _flags.add_machine(command)


def run(options: Namespace) -> None:
    from ..core.part_list import chosen_family, families, parts_of
    from ..pipeline.part_table import part_table

    chosen = [chosen_family(options.family)] if options.family else list(families())
    if options.dataset is not None:
        return _costs(options)
    if options.configuration is not None:
        raise UsageError("-c names a configuration of a plan: give -d DATASET, too")
    found = [part for family in chosen for part in parts_of(family)]
    options.console.result(part_table(found), parts=found)


def _costs(options: Namespace) -> None:
    from ..core.part_list import parts_of
    from ..pipeline.network_costs import network_costs, refuse_other_family
    from ..pipeline.part_table import cost_table

    refuse_other_family(options.family)
    names = [part.name for part in parts_of(options.family)]
    files = _options.dataset_folder(options, writing=True)
    configuration, costs = network_costs(files, names, options.configuration, _options.settings(options))
    title = f"{files.root.name}, {configuration}, on this machine"
    options.console.result(f"{title}\n{cost_table(costs)}", configuration=configuration, networks=costs)
