"""Where modules are looked for: not in the current folder. It may be somebody's dataset, and hold an argparse.py."""

import sys
from importlib.machinery import ModuleSpec, PathFinder

LEFT: list[str] = []
"""Folders in which only packages are looked for that the user trusts."""
_AGAIN = """
import sys
sys.path[:] = {path!r}
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
spec = PathFinder.find_spec("autoseg", [{home!r}])
sys.modules["autoseg"] = module_from_spec(spec)
spec.loader.exec_module(sys.modules["autoseg"])
from autoseg.core import imports
imports.LEFT[:] = {left!r}
from autoseg.cli import main
sys.exit(main())
"""


def leave_current_folder() -> None:
    """Takes the current folder off the import path where ``python -m autoseg`` has put it first.

    To be called before anything else is imported: Python's own modules come after it.
    """
    last = sys.orig_argv[len(sys.orig_argv) - len(sys.argv)]  # the module, or options that end in it: -umautoseg
    module = last if last[:1] != "-" else last.partition("m")[2]
    is_ours = sys.argv[:1] == ["-m"] and module.partition(".")[0] == "autoseg"
    if is_ours and not (sys.flags.isolated or getattr(sys.flags, "safe_path", False)):
        LEFT.append(sys.path.pop(0))


def find_trusted(packages: tuple[str, ...]) -> None:
    """Packages that lie in the current folder can be imported from now on, if that was left and they are trusted."""
    roots = {name.partition(".")[0] for name in packages}
    places = {name: folder for folder in LEFT for name in roots if PathFinder.find_spec(name, [folder])}
    if places:
        sys.meta_path.insert(0, _Trusted(places))


class _Trusted:
    def __init__(self, places: dict[str, str]) -> None:
        self._places = places

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return PathFinder.find_spec(name, [self._places[name]]) if name in self._places else None


def again() -> list[str]:
    """The words that start this program once more: the same autoseg, and everything else from where it is found here.

    An empty entry of the import path would be the current folder.
    """
    import os

    home = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    left = [*LEFT, *([os.getcwd()] if "" in sys.path else [])]
    code = _AGAIN.format(path=[entry for entry in sys.path if entry], home=home, left=left)
    return [sys.executable, *(["-I"] if sys.flags.isolated else []), "-c", code]
