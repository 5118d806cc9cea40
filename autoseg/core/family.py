"""A part's name is its module's name: ``plain_unet`` in family networks is ``autoseg/parts/networks/plain_unet.py``."""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from ..errors import UnknownPartError
from .names import short

_MODULE = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")


@dataclass(frozen=True)
class Family:
    """A package whose modules are interchangeable; each defines ``attribute``."""

    package: str
    attribute: str
    defaults: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """What a part has that does not say otherwise, by name."""

    def __iter__(self) -> Iterator[str]:
        return iter(_modules(self.package))

    def load(self, name: str, trusted: tuple[str, ...] = ()) -> Any:
        """The part called ``name``. A dotted name is the user's own module and must start with a trusted package.

        Raises UnknownPartError.
        """
        if "." in name and not any(name == root or name.startswith(f"{root}.") for root in trusted):
            package = name.split(".")[0]
            way = f"If you trust its author, pass --trust {package}" if _MODULE.fullmatch(name) else "It is no module"
            raise UnknownPartError(f"{short(name)!r} is not a part of autoseg. {short(way)}")
        module = name if "." in name else f"{self.package}.{name}"
        known = "." in name or (module in sys.modules and not name.startswith("_"))  # which spares listing a folder
        if not known and name not in set(self):
            raise UnknownPartError(f"no {short(name)!r} in {self.package}; choose one of {', '.join(self)}")
        if not _MODULE.fullmatch(module):
            raise UnknownPartError(f"{short(module)!r} cannot be the name of a module")
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name is not None and module != error.name and not module.startswith(f"{error.name}."):
                raise  # the part exists, but something that it imports does not
            raise UnknownPartError(
                f"there is no module {short(module)!r}; is the package that holds it installed?"
            ) from None
        if not hasattr(found, self.attribute):
            raise UnknownPartError(f"the module {short(module)!r} is no part: it has no {self.attribute}")
        part = getattr(found, self.attribute)
        for ability, default in self.defaults.items():
            if not hasattr(part, ability) and ability not in getattr(part, "__dataclass_fields__", ()):
                setattr(part, ability, default)
        return part

    def name_of(self, part: Any) -> str:
        """The name under which ``load`` finds the part again."""
        module = type(part).__module__
        return module.removeprefix(f"{self.package}.")


@lru_cache
def _modules(package: str) -> tuple[str, ...]:
    """Looked for once: a stranger's plan may name a hundred thousand parts."""
    paths = importlib.import_module(package).__path__
    return tuple(sorted(module.name for module in pkgutil.iter_modules(paths) if not module.name.startswith("_")))
