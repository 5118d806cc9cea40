"""One file is one command: ``HELP``, ``EXAMPLES``, ``add_flags(command)`` and ``run(options)``, which returns an exit
code or None, and hands what was asked for to ``options.console.result``.

A command turns flags into a call of the pipeline and imports inside ``run`` whatever is heavy.
"""

NAMES = (
    "convert",
    "check",
    "fingerprint",
    "plan",
    "preprocess",
    "plan_and_preprocess",
    "train",
    "status",
    "predict",
    "evaluate",
    "select",
    "baseline",
    "search",
    "report",
    "plot",
    "mesh",
    "explain",
    "export",
    "install",
    "import_",
    "info",
    "parts",
    "doctor",
    "completion",
    "demo",
)
"""In the order in which the help lists them; a name that Python keeps for itself ends in _ and is typed without."""
