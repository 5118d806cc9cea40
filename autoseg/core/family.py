"""A part's name is its module's name: ``plain_unet`` in family networks is ``autoseg/parts/networks/plain_unet.py``."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ..errors import UnknownPartError


@dataclass(frozen=True)
class Family:
    """A package whose modules are interchangeable; each defines ``attribute``."""

    package: str
    attribute: str

    def __iter__(self) -> Iterator[str]:
        return iter(_modules(self.package))

    def load(self, name: str, trusted: tuple[str, ...] = ()) -> Any:
        """The part called ``name``. A dotted name is the user's own module and must start with a trusted package."""
        if "." in name and not any(name == root or name.startswith(f"{root}.") for root in trusted):
            raise UnknownPartError(
                f"{name!r} is not a part of autoseg. If you trust its author, pass --trust {name.split('.')[0]}"
            )
        if "." not in name and name not in set(self):
            raise UnknownPartError(f"no {name!r} in {self.package}; choose one of {', '.join(self)}")
        module = name if "." in name else f"{self.package}.{name}"
        try:
            return getattr(importlib.import_module(module), self.attribute)
        except ModuleNotFoundError as error:
            if error.name is not None and module != error.name and not module.startswith(f"{error.name}."):
                raise  # the part exists, but something that it imports does not
            raise UnknownPartError(f"there is no module {module!r}; is the package that holds it installed?") from None

    def name_of(self, part: Any) -> str:
        """The name under which ``load`` finds the part again."""
        module = type(part).__module__
        return module.removeprefix(f"{self.package}.")


@lru_cache
def _modules(package: str) -> tuple[str, ...]:
    """Looked for once: a stranger's plan may name a hundred thousand parts."""
    paths = importlib.import_module(package).__path__
    return tuple(sorted(module.name for module in pkgutil.iter_modules(paths) if not module.name.startswith("_")))
