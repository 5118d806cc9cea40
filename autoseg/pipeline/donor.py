"""The model that a training begins with: a bundle, a folder of trained folds, or a checkpoint of nnU-Net."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from ..bundle.trained import Trained, read_trained
from ..bundle.weights import read_weights
from ..configuration import InitialWeights
from ..core.digests import digest_of
from ..dataset_names import some
from ..errors import UsageError
from ..plan import Plan
from ..run_folder import RunFolder
from ..training.initial import PREFIX, Donor, entries_of, fitted
from ..workspace import DatasetFolder
from .donor_checkpoint import is_checkpoint, read_checkpoint, refuse_other_files

LOG = logging.getLogger("autoseg")
MOST_NAMED = 4  # weights in a line of the log


@dataclass(frozen=True)
class Donors:
    """What a user asks a training to begin with."""

    path: Path
    """Of the model."""
    encoder_rate: float = 1.0
    """Share of the learning rate at which the encoder's weights learn that are taken; 0: not at all."""
    trusted: tuple[str, ...] = ()

    def refuse_early(self, files: DatasetFolder) -> None:
        """Raises UsageError where the network is not decided yet, ModelError for what is no model."""
        if not files.plan.exists() or files.read_plan().draft:
            name = files.root.name
            raise UsageError(
                f"{name}: its network is chosen when this machine is measured, but weights fit only the network that "
                f"they come from. Plan with that first: `autoseg plan_and_preprocess {name} --from MODEL`"
            )
        if is_checkpoint(self.path):
            refuse_other_files(self.path)
        else:
            _ = self.trained

    @cached_property
    def trained(self) -> Trained:
        """The model, where it is one of autoseg's. Raises ModelError."""
        return read_trained(self.path, trusted=self.trusted)

    def of(self, plan: Plan, fold: str) -> tuple[Plan, Donor]:
        """The plan that says what ``fold`` of its default configuration begins with, and that network.

        Of a model of several folds it is the same fold, or else the first. Raises ModelError for a model that cannot
        be read, UsageError for one that is another network.
        """
        task = plan.task()
        donor = read_checkpoint(self.path, task) if is_checkpoint(self.path) else self._of_model(task.name, fold)
        found = fitted(task, task.network(), donor)
        share = 100 * found.share
        LOG.info("%s fold_%s begins with weights of %s: %.0f %% of its own", task.name, fold, donor.source, share)
        if found.fresh:
            LOG.info(
                "%d weights begin at random, for want of a counterpart: %s",
                len(found.fresh),
                some(found.fresh, MOST_NAMED),
            )
        initial = InitialWeights(donor.source, donor.digest, self.encoder_rate, found.fresh)
        return _with(plan, initial), donor

    def _of_model(self, name: str, fold: str) -> Donor:
        there = self.trained.manifest.configurations
        chosen = name if name in self.trained.manifest.ensemble else next(iter(self.trained.manifest.ensemble))
        of = fold if fold in there[chosen] else there[chosen][0]
        task = self.trained.plan.task(chosen)
        weights = {name.removeprefix(PREFIX): value for name, value in read_weights(self.trained, chosen, of).items()}
        digest = digest_of(self.trained.weight_blocks(chosen, of))
        source = f"{self.trained.manifest.name} {chosen} fold_{of}"
        return Donor(source, digest, weights, entries_of(task), task.labels.head_names)


def begun_with(plan: Plan, run: RunFolder, donors: Donors | None) -> tuple[Plan, Donor | None]:
    """What the training in ``run`` begins with, and ``plan`` with it. What one that goes on began with need not be said
    again. Raises as ``Donors.of`` does."""
    if donors is not None:
        return donors.of(plan, run.fold)
    if not run.has_checkpoint:
        return plan, None
    return _with(plan, run.read_plan().configuration()[1].initial), None


def _with(plan: Plan, initial: InitialWeights | None) -> Plan:
    name, configuration = plan.configuration()
    return replace(plan, configurations=plan.configurations | {name: replace(configuration, initial=initial)})
