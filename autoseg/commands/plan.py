"""`autoseg plan`: from a measured dataset, or from nnU-Net's own fingerprint."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from ..errors import UsageError
from . import _flags, _options

HELP = "decide plan.json and folds.json from the fingerprint"


def add_flags(command: ArgumentParser) -> None:
    command.add_argument("dataset", metavar="DATASET", nargs="?")
    command.add_argument("--explain", action="store_true", help="say why, for every decision")
    command.add_argument(
        "--compare", nargs=2, metavar=("A", "B"), help="two planners' decisions side by side; nothing is written"
    )
    command.add_argument(
        "--from-fingerprint", type=Path, metavar="FILE", help="plan from nnU-Net's dataset_fingerprint.json"
    )
    command.add_argument(
        "--dataset-json", type=Path, metavar="FILE", help="the dataset.json that belongs to it (default: beside it)"
    )
    command.add_argument(
        "--format", choices=("autoseg", "nnunet"), default="autoseg", help="of the plan for -o (default: %(default)s)"
    )
    command.add_argument("-o", "--output", type=Path, metavar="FILE", help="also write the plan here")
    _flags.add_planning(command)
    _flags.add_machine(command)


def run(options: Namespace) -> None:
    import json

    from ..core.records import to_json, write_json
    from ..interop.nnunet_plans import nnunet_plans
    from ..pipeline import plan_and_preprocess as story
    from ..pipeline.plan_from_fingerprint import plan_from_fingerprint
    from ..planning.explain import explanation

    path, trusted = options.from_fingerprint, tuple(options.trust)
    if (options.dataset is None) == (path is None):
        raise UsageError("plan needs either a DATASET or --from-fingerprint FILE")
    if options.compare:
        return _compare(options)
    if path is None:
        files = _options.dataset_folder(options)
        planned = story.plan(
            files,
            planner=options.planner,
            plans=options.plans,
            folds=_options.fold_rules(options),
            wishes=_options.wishes(options),
            changes=options.changes,
            trusted=trusted,
        )
        measured = files.read_fingerprint()
    else:
        described = options.dataset_json or path.with_name("dataset.json")
        name = options.planner or "plain_unet"
        planned, measured = plan_from_fingerprint(
            path,
            described,
            planner=name,
            wishes=_options.wishes(options),
            changes=options.changes,
            trusted=trusted,
        )
    if options.explain:
        sys.stdout.write(explanation(planned) + "\n")
    content = nnunet_plans(planned, measured) if options.format == "nnunet" else planned
    if options.output is not None:
        write_json(options.output, content)
    elif (path is not None and not options.explain) or options.format != "autoseg":
        sys.stdout.write(json.dumps(to_json(content), indent=2) + "\n")


def _compare(options: Namespace) -> None:
    from ..pipeline import plan_and_preprocess as story
    from ..pipeline.plan_from_fingerprint import plan_from_fingerprint
    from ..planning.explain import comparison

    path, wishes, trusted = options.from_fingerprint, _options.wishes(options), tuple(options.trust)
    if path is None:
        files = _options.dataset_folder(options)
        plans = [
            story.decide(files, planner=name, wishes=wishes, changes=options.changes, trusted=trusted)
            for name in options.compare
        ]
    else:
        described = options.dataset_json or path.with_name("dataset.json")
        plans = [
            plan_from_fingerprint(
                path, described, planner=name, wishes=wishes, changes=options.changes, trusted=trusted
            )[0]
            for name in options.compare
        ]
    sys.stdout.write(comparison(plans) + "\n")
