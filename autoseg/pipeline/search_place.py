"""Where a search works and what it plans with: a folder as that of a dataset, of which one fold is kept aside.

<dataset>/search/fold_0/
    dataset.json  fingerprint.json  folds.json  plan.json  prepared/  runs/     as those of a dataset
    plans/                              of each network, for the longest training
    study.log  trials/                  what was asked for, and who is at it
    search.json  front.csv              what was found (``search_front``)

Nothing that a search decides by knows the validation cases of the fold that it reports on: neither the fingerprint it
plans with nor any training. Fold 0 of its folds.json parts the other cases once more, and fold 1 is that fold.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from ..core.locks import alone
from ..core.names import short
from ..core.records import read_json, write_json
from ..data.dataset import Dataset
from ..data.folds import Fold, Folds, make_folds
from ..errors import UsageError
from ..inspection.extract import extract_fingerprint
from ..plan import Plan
from ..planning.constraints import PlanConstraints
from ..settings import RunSettings
from ..workspace import DatasetFolder
from .make_plan import PlanRequest, make_plan
from .plan_and_preprocess import preprocess, report
from .plan_file import write_plan
from .plan_folds import label_presence
from .search_front import RECORD, Found, Tried
from .search_study import RUNGS

INNER, OUTER = "0", "1"  # folds of the search's own folds.json
SHORTEST = 108  # of the time: 27 trainings of it, 9 of three times, 3 of nine times, and the reported ones


@dataclass(frozen=True)
class Search:
    """What is asked for."""

    files: DatasetFolder
    seconds: float
    """Of trainings and validations, of all processes on the store together."""
    fold: str = "0"
    configuration: str | None = None
    """None: the plan's default."""
    networks: tuple[str, ...] = ()
    """Beside the planner's own."""
    settings: RunSettings = field(default_factory=RunSettings)

    @cached_property
    def shortest(self) -> float:
        """Seconds of the shortest training: those of before, where a search is gone on with for another time."""
        return read_found(self.record).shortest if self.record.exists() else self.seconds / SHORTEST

    @cached_property
    def root(self) -> DatasetFolder:
        """Where it works."""
        return DatasetFolder(search_folder(self.files, self.fold), self.files.trusted)

    @property
    def record(self) -> Path:
        return self.root.root / RECORD


def search_folder(files: DatasetFolder, fold: str) -> Path:
    """Raises UsageError for a fold that nobody can have."""
    if not re.fullmatch("0|[1-9][0-9]{0,8}", fold):
        raise UsageError(f"fold {short(fold)!r} is unknown; give the number of one")
    return files.searches / f"fold_{fold}"


def read_found(path: Path) -> Found:
    """Raises RecordError."""
    found: Found = read_json(path, Found)
    return found


def laid_out(asked: Search) -> None:
    """The dataset as the search sees it. Nothing is done where it is there."""
    files, root = asked.files, asked.root
    dataset, folds = files.read_dataset(), files.read_folds()
    outer = folds.named(asked.fold)
    if not outer.validation:
        raise UsageError(f"fold {asked.fold} has no validation cases to report on")
    with alone(root.root / ".lock", "search"):
        if root.folds.exists():
            _refuse_another(asked, outer, folds.patients)
            write_json(root.dataset, dataset, sealed=True)  # its files may lie elsewhere now
            return
        seen = set(outer.train)
        patients = {key: folds.patients[key] for key in seen} if folds.patients else None
        inner = make_folds(seen, patients, label_presence(dataset, files.read_fingerprint()))
        write_json(root.fingerprint, files.read_fingerprint(), sealed=True)
        write_json(root.dataset, dataset, sealed=True)
        write_json(asked.record, Found(dataset.name, asked.fold, asked.shortest, asked.networks, asked.configuration))
        write_json(root.folds, Folds((inner.folds[0], outer), patients=folds.patients))


def _refuse_another(asked: Search, outer: Fold, patients: dict[str, str]) -> None:
    """Raises UsageError where what lies there is a search for something else."""
    before, root = read_found(asked.record), asked.root
    cure = f"go on with it so, or remove {root.root} to begin anew"
    if (before.networks, before.configuration) != (asked.networks, asked.configuration):
        flags = [f"--network {name}" for name in before.networks]
        flags += [f"-c {before.configuration}"] if before.configuration else []
        raise UsageError(f"there is a search with {' '.join(flags) or 'neither --network nor -c'}; {cure}")
    there = root.read_folds()
    if there.named(OUTER) != outer or there.patients != patients:
        raise UsageError(f"the folds have changed since this search began; remove {root.root} to begin anew")


def _seen(asked: Search) -> Dataset:
    """Without the cases of the fold that is reported on."""
    dataset, outer = asked.root.read_dataset(), asked.root.read_folds().named(OUTER)
    return replace(dataset, cases=tuple(dataset.case(key) for key in sorted(outer.train)))


def planned(asked: Search, network: str) -> Plan:
    """The plan for the longest training, with one configuration; prepared. It is made once."""
    root = asked.root
    path = root.root / "plans" / f"{_digest(network)}.json"
    with alone(root.plan_lock, "search"):
        if not path.exists():
            seen = _seen(asked)
            measured, problems = extract_fingerprint(seen, asked.files.measured, asked.settings.threads, unfit=())
            report(problems, seen)
            constraints = PlanConstraints(seconds=RUNGS[-1] * asked.shortest, network=network or None)
            how = PlanRequest(constraints=constraints, settings=asked.settings, trusted=root.trusted)
            whole = make_plan(how, seen, measured, asked.files.steps)
            name, configuration = whole.configuration(asked.configuration)
            if configuration.previous:
                raise UsageError(f"{name} is the later stage of a cascade; name another configuration with -c")
            write_json(path, replace(whole, configurations={name: configuration}, default=name))
        plan: Plan = read_json(path, Plan, trusted=root.trusted)
        if not root.plan.exists():
            write_plan(root, plan)
            measured = root.read_fingerprint()
            preprocess(root, root.read_dataset(), measured, plan, settings=asked.settings, only_missing=True)
    return plan


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def note_failed(asked: Search, seconds: float) -> None:
    """A training that came to nothing takes of the time, too."""
    _change(asked, lambda found: replace(found, failed=found.failed + seconds))


def note(asked: Search, tried: Tried) -> None:
    """Adds or replaces one training."""

    def noted(found: Found) -> Found:
        others = (each for each in found.tried if each.name != tried.name)
        return replace(found, tried=(*others, tried))

    _change(asked, noted)


def _change(asked: Search, change: Callable[[Found], Found]) -> None:
    """Of the record, by one process at a time."""
    with alone(asked.root.root / ".lock", "search"):
        write_json(asked.record, change(read_found(asked.record)))


def take(files: DatasetFolder, fold: str, name: str) -> Plan:
    """Adds a configuration that a search has found to the dataset's plan. Raises UsageError where there is none."""
    root = DatasetFolder(search_folder(files, fold), files.trusted)
    if not root.plan.exists():
        raise UsageError(f"no search has kept fold {fold} of {files.root.name} aside; run `autoseg search` first")
    found, record = root.read_plan(), read_found(root.root / RECORD)
    if name not in {each.name for each in record.tried}:
        front = ", ".join(each.name for each in record.front) or "empty"
        raise UsageError(f"the search of fold {fold} has no plan {short(name)!r}; its front is {front}")
    with alone(files.plan_lock, "search"):
        plan = files.read_plan()
        _refuse_to_take(plan, found, name, files)
        try:
            added = replace(plan, configurations={**plan.configurations, name: found.configurations[name]})
        except ValueError as error:  # other channels, for example
            raise UsageError(f"{name} does not fit {files.plan}: {error}") from None
        write_plan(files, added)
    return added


def _refuse_to_take(plan: Plan, found: Plan, name: str, files: DatasetFolder) -> None:
    """Raises UsageError where the plan could not be trained as the search has trained it."""
    if plan.draft:  # nobody has decided its configurations yet
        raise UsageError(f"{files.plan} is a draft; run `autoseg plan {plan.dataset}` first, then take {name}")
    if plan.configurations.get(name, found.configurations[name]) != found.configurations[name]:
        raise UsageError(f"{files.plan} has another configuration {name}; rename it there, or remove it")
    of_all = ("channels", "labels", "axis_order", "orientation", "mirror_axes", "alignment")
    if other := [field for field in of_all if getattr(plan, field) != getattr(found, field)]:
        raise UsageError(f"{files.plan} decides otherwise on {', '.join(other)} than the search did; search anew")
