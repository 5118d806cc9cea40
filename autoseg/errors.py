"""Every error autoseg raises on purpose. The command line prints them without a traceback and exits with 2.

AutosegError
├── UsageError           a flag or argument that cannot be right
│   └── MissingPackageError  what was asked for by name needs a package that is not installed (also a ValueError)
├── DatasetError         the user's images, labels or dataset.json; may carry a table of problems
├── ImageFileError       one file that cannot be read or written
├── RecordError          a JSON file (plan, fingerprint, ...) with a missing, unknown or impossible field
│   ├── MistypedError    a value of another kind than its field, whatever the other fields hold
│   └── UnknownPartError a part's name that no module carries
├── PlanningError        a dataset for which no sensible plan exists
├── WorkspaceError       a step whose predecessor has not run, or a folder that is in use
├── TrainingError        a run that cannot start or must not go on
│   └── StoppedError     a run that was asked to stop: it has saved, and the same command goes on
└── ModelError           a trained model that is incomplete or does not fit the images
    └── NotFiniteError   a network that computed infinity or NaN

A message says which case or file, what is wrong, and what to do.
"""


class AutosegError(Exception):
    """Base of every error that is a message to the user and not a defect of autoseg."""


class UsageError(AutosegError):
    """A flag or argument that cannot be right."""


class MissingPackageError(UsageError, ValueError):
    """What was asked for by name needs an optional package that is not installed."""


class DatasetError(AutosegError):
    """The user's images, labels or dataset.json cannot be used as they are."""


class ImageFileError(AutosegError):
    """One image file cannot be read or written."""


class RecordError(AutosegError):
    """A JSON record has a missing, unknown or impossible field."""


class MistypedError(RecordError):
    """A value is of another kind than its field: text for a number, or a number that none can hold."""


class UnknownPartError(RecordError):
    """No part carries this name."""


class PlanningError(AutosegError):
    """No sensible plan exists for this dataset or budget."""


class WorkspaceError(AutosegError):
    """A step whose predecessor has not run, or a folder that cannot be used."""


class TrainingError(AutosegError):
    """A training run cannot start or must not go on."""


class StoppedError(TrainingError):
    """A training run was asked to stop and has saved what it needs to go on."""


class ModelError(AutosegError):
    """A trained model is incomplete or does not fit the images it was given."""


class NotFiniteError(ModelError):
    """A network computed infinity or NaN."""
