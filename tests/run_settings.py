"""How steps run in tests: the same bits every time, on one thread."""

from autoseg.settings import RunSettings

SETTINGS = RunSettings(device="cpu", precision="float32", threads=1)
