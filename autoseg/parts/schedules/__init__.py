"""Learning-rate schedules. A part defines ``Spec`` with ``factor(progress, step)``."""
