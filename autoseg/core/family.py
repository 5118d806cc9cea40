"""A part's name is its module's name: ``plain_unet`` in family networks is ``autoseg/parts/networks/plain_unet.py``."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from ..errors import UnknownPartError
from .names import short


@dataclass(frozen=True)
class Family:
    """A package whose modules are interchangeable; each defines ``attribute``."""

    package: str
    attribute: str

    def __iter__(self) -> Iterator[str]:
        paths = importlib.import_module(self.package).__path__
        return iter(sorted(module.name for module in pkgutil.iter_modules(paths) if not module.name.startswith("_")))

    def load(self, name: str, trusted: tuple[str, ...] = ()) -> Any:
        """The part called ``name``. A dotted name is the user's own module and must start with a trusted package."""
        if "." in name and not any(name == root or name.startswith(f"{root}.") for root in trusted):
            raise UnknownPartError(
                f"{short(name)!r} is not a part of autoseg. "
                f"If you trust its author, pass --trust {short(name.split('.')[0]) or 'PACKAGE'}"
            )
        if "." not in name and name not in set(self):
            raise UnknownPartError(f"no {short(name)!r} in {self.package}; choose one of {', '.join(self)}")
        module = name if "." in name else f"{self.package}.{name}"
        if not all(step.isidentifier() for step in module.split(".")):
            raise UnknownPartError(f"{short(name)!r} is no name of a module")
        try:
            return self._of(importlib.import_module(module), name)
        except ModuleNotFoundError as error:
            if error.name is not None and module != error.name and not module.startswith(f"{error.name}."):
                raise UnknownPartError(f"{short(name)!r} imports {error.name!r}, which is not installed") from None
            raise UnknownPartError(
                f"there is no module {short(module)!r}; is the package that holds it installed?"
            ) from None

    def _of(self, module: ModuleType, name: str) -> Any:
        part = getattr(module, self.attribute, None)
        sound = isinstance(part, type) and dataclasses.is_dataclass(part) if self.attribute == "Spec" else part
        if not sound:
            what = "a dataclass" if self.attribute == "Spec" else "a value"
            raise UnknownPartError(f"{short(name)!r} is no part for {self.package}: it has no {self.attribute}, {what}")
        return part

    def name_of(self, part: Any) -> str:
        """The name under which ``load`` finds the part again."""
        module = type(part).__module__
        return module.removeprefix(f"{self.package}.")
