"""`autoseg baseline`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from . import _flags, _options

HELP = "segment validation cases by a classical method: what a network has to be better than"
EXAMPLES = (
    "autoseg baseline threshold Hippocampus",
    "autoseg baseline random_walker Hippocampus -f 0",
    "autoseg baseline level_set Hippocampus -f 0 --set kind=chan_vese",
)


def add_flags(command: ArgumentParser) -> None:
    command.add_argument(
        "name", type=_flags.name, metavar="NAME", help="the method; `autoseg parts baselines` lists them"
    )
    command.add_argument("dataset", type=_flags.word, metavar="DATASET")
    _flags.add_folds(command, "the validation cases of these folds only (default: all folds, which is every case)")
    command.add_argument(
        "--channel",
        action="append",
        type=_flags.word,
        default=[],
        metavar="CHANNEL",
        help="look at this channel only, by name or number; repeatable (default: all)",
    )
    command.add_argument(
        "--set",
        action="append",
        default=[],
        dest="changes",
        metavar="FIELD=VALUE",
        help="a setting of the method, which is then not learned; repeatable",
    )
    _flags.add_report(command)
    _flags.add_machine(command)


def run(options: Namespace) -> None:
    from ..evaluation.tables import score_table
    from ..pipeline import baseline as story

    files = _options.dataset_folder(options, writing=True)
    found = story.baseline(
        files,
        options.name,
        folds=options.folds,
        channels=options.channel,
        changes=options.changes,
        settings=_options.settings(options),
    )
    where = ", ".join(str(folder.root) for folder in found.folders)
    options.console.result(
        f"{score_table(found.summary)}\n{found.told}\nwritten: {where}",
        scores=found.summary,
        folders=[folder.root for folder in found.folders],
        learned={fold: record for fold, record in found.records.items()},
    )
    if (write := _options.report_at_end(options, files)) is not None:
        write()
