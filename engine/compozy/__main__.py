"""Run the command line: `python -m compozy`, and the command `compozy`."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType


def _report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print what ends the interpreter; Ctrl-C while the command line still imports itself needs no traceback."""
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _report


def main() -> None:
    """Run the command line and exit."""
    import signal

    # An exception can get lost in the machinery of imports, so until those are done the signal ends the process itself.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from compozy.cli.main import main as run

    run()


if __name__ == "__main__":
    # `python -m` puts the working directory first, whose modules would be imported in the place of ours.
    if not sys.flags.safe_path:
        del sys.path[0]
    main()
