"""Default handling of Ctrl-C, set before anything else is imported, since Python would print a traceback."""

import signal


def exit_silently_on_sigint() -> None:
    """Let Ctrl-C end this process without a traceback while Python starts or exits.

    For the main module of a program. An ignored Ctrl-C stays ignored.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
