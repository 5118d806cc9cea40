"""``python -m autoseg`` and the command ``autoseg``."""

import signal

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # Until the command line listens, and again when it has ended, Ctrl-C ends the process without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from .cli import main

if __name__ == "__main__":
    raise SystemExit(main())
