"""A user's own package, as tests need one: it is used with ``--trust mylab``."""
