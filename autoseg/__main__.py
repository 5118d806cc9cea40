"""``python -m autoseg`` is the command ``autoseg``."""

from .cli import main

if __name__ == "__main__":
    raise SystemExit(main())
