"""Parts as a user writes them: a package outside autoseg, used with ``--trust own_parts``."""
