"""The first thing that a program does. Nothing else is imported here: until it is done, Ctrl-C prints a traceback."""

import signal


def die_quietly() -> None:
    """Let Ctrl-C end this process without a word, as it ends any program: while Python loads it or takes it down.

    For processes that are a program; an ignored Ctrl-C stays ignored.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
