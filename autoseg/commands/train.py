"""`autoseg train`."""

from __future__ import annotations

from argparse import SUPPRESS, ArgumentParser, Namespace
from typing import TYPE_CHECKING

from ..errors import UsageError
from . import _flags, _options

if TYPE_CHECKING:
    from ..pipeline.donor import Donors
    from ..pipeline.fold_processes import FoldProcesses
    from ..pipeline.train_fold import FoldRun
    from ..plan import Plan

HELP = "train one fold (or all five in turn) and score its validation cases"
EXAMPLES = (
    "autoseg train Hippocampus 0",
    "autoseg train path/to/my_dataset 0 --time 2h",
    "autoseg train Hippocampus cv --devices cuda:0,cuda:1",
    "autoseg train Hippocampus 0 --init other_model --encoder-rate 0.1",
)


def add_flags(command: ArgumentParser) -> None:
    command.add_argument(
        "dataset", type=_flags.word, metavar="DATASET", help="one that was never prepared is prepared first"
    )
    command.add_argument(
        "fold", metavar="FOLD", help="0-4, `all` (every case, nothing to validate on) or `cv` (all folds)"
    )
    _flags.add_configuration(command, "2d, 3d_fullres, ... (default: the plan's)")
    _flags.add_folds(command, "with cv: only these")
    command.add_argument("--only", type=_flags.fold, help=SUPPRESS)  # of those above, in a process of --devices
    command.add_argument(
        "--devices",
        type=devices,
        default=(),
        metavar="A,B,...",
        help="with cv: so many folds at once, one on each, for example cuda:0,cuda:1",
    )
    budget = command.add_mutually_exclusive_group()
    budget.add_argument("--epochs", type=_flags.whole(1, _flags.MOST), metavar="N", help="train this many epochs")
    budget.add_argument("--time", type=_flags.seconds, metavar="T", help="train this long: 90s, 20m, 12h, 1h30m")
    command.add_argument(
        "--checkpoint-every",
        type=_flags.seconds,
        default=600.0,
        metavar="T",
        help="time between checkpoints (default: 10m)",
    )
    command.add_argument(
        "--patience",
        type=_flags.whole(0, _flags.MOST),
        metavar="N",
        help="end well after N epochs without a better Dice on whole validation cases (0: never)",
    )
    command.add_argument(
        "--extend", action="store_true", help="train a finished fold on, until --epochs or --time in all"
    )
    _add_init(command)
    _flags.add_report(command)
    _flags.add_changes(command)
    _flags.add_machine(command, seed=True)


def _add_init(command: ArgumentParser) -> None:
    command.add_argument(
        "--init",
        type=_flags.word,
        metavar="MODEL",
        help="begin with the weights of this model (bundle, installed one, trained folds) or checkpoint of nnU-Net",
    )
    command.add_argument(
        "--encoder-rate",
        type=_flags.number(0, 1),
        metavar="X",
        help="with --init: share of the learning rate for the encoder's weights, 0 to keep them (default: 1)",
    )


def devices(text: str) -> tuple[str, ...]:
    """``cuda:0,cuda:1``; nothing is none."""
    return tuple(_flags.device(name.strip()) for name in text.split(",")) if text else ()


def run(options: Namespace) -> None:
    from ..core import process
    from ..pipeline import train as story
    from ..pipeline.status import runs_of

    if options.fold != "cv" and (options.folds or options.devices):
        raise UsageError("--folds and --devices choose among the folds of cv; write `autoseg train DATASET cv`")
    process.keep_freed()
    patience = [] if options.patience is None else [f"training.patience={options.patience}"]
    files, folder = _options.dataset_and_images(options, writing=True)
    model = story.train(
        files,
        options.fold,
        configuration=options.configuration,
        epochs=options.epochs,
        seconds=options.time,
        changes=[*options.changes, *patience],
        checkpoint_every=options.checkpoint_every,
        extend=options.extend,
        only=[options.only] if options.only else options.folds,
        fold_processes=_fold_processes(options) if options.devices else None,
        at_end=None if options.only else _options.report_at_end(options, files),
        folder=folder,
        donors=_donors(options),
        settings=_options.settings(options),
    )
    trainings = [line for line in runs_of(files) if line.configuration == model.name]
    options.console.result("", model=model, trainings=trainings)


def _donors(options: Namespace) -> Donors | None:
    from ..model_names import find_model
    from ..pipeline.donor import Donors

    if options.init is None:
        if options.encoder_rate is not None:
            raise UsageError("--encoder-rate is about weights that --init takes; name a model with --init")
        return None
    rate = 1.0 if options.encoder_rate is None else options.encoder_rate
    return Donors(find_model(options.init, _options.workspace(options)), rate, tuple(options.trust))


def _fold_processes(options: Namespace) -> FoldProcesses:
    """Every fold by this command's own words, with the last word on fold, device and share of the threads."""
    from ..core.fusion import written_levels
    from ..core.imports import again
    from ..pipeline.fold_processes import FoldProcesses

    threads = max(1, _options.settings(options).threads // len(options.devices))
    said = [word for word in options.arguments if not (word.startswith("--j") and "--json".startswith(word))]

    def command(run: FoldRun, device: str) -> list[str]:
        here = ["--configuration", run.plan.default, "--only", run.fold, "--device", device]
        return [*again(), *said, *here, "--devices", "", "--threads", str(threads)]

    def planning(draft: Plan, device: str) -> list[str]:
        words = ["plan", options.dataset, "--held", "--planner", draft.planner, "--workspace", options.workspace]
        words += ["--network", draft.network] if draft.network else []
        levels, groups = written_levels(draft.fusion, draft.beside)
        words += ["--fusion", levels] if draft.fusion or draft.beside else []
        words += ["--groups", groups] if groups else []
        words += ["--device", device, "--precision", options.precision, "--threads", str(threads)]
        words += ["--time", f"{options.time}s"] if options.time else []
        words += ["--quiet"] if options.quiet or options.json else []
        return [*again(), *words, *(f"--trust={name}" for name in options.trust)]

    return FoldProcesses(options.devices, command, planning)
