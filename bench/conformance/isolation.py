"""Modules of the user's own and of other packages are checked in a child process, so that none can end this one.

Mechanisms that are shipped are checked in this process, which costs no start of another one.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from bench.attention import canonical_name, has_user_module
from bench.attention.plugins import files_of, find_again
from bench.config import DEFAULT_WIDTH
from bench.conformance.checks import Finding
from bench.conformance.checks import check as check_here
from bench.conformance.checks import require_buildable as refuse_here
from bench.model import AttributeCNN, number_of_stages
from mnistref.common.atomic_files import working_directory_kept
from mnistref.common.child_process import ChildDiedError, ChildProcess
from mnistref.common.errors import RunProblemError
from mnistref.spec import VariantSpec


class ProbeProcess:
    """Asks questions about networks: here, or in one child process where a network has a module from outside.

    The child starts with the first such question, and ends with the block. What user code prints there goes to stderr.
    """

    def __init__(self) -> None:
        self._child: ChildProcess | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._end(kill=kind is not None)

    def ask(self, question: Callable[..., Any], attn: str, *arguments: Any) -> Any:
        """Return what an importable function answers to a slot list and more arguments.

        Raises:
            RunProblemError: the module ended its process.
        """
        if not has_user_module(attn):
            return question(attn, *arguments)
        child = self._child or self._start()
        try:
            return child.call(_answer, question, files_of(attn), attn, *arguments)
        except ChildDiedError as error:
            self._end()
            ended = f"{error}{error.advice('free some memory')}"
            said = (
                "the module ended the process with" if ended.startswith("exit code") else "the module's process failed:"
            )
            raise RunProblemError(f"{attn}: not fit to be benchmarked: {said} {ended}") from error

    def require_buildable(self, attn: str, variant: VariantSpec, width: int = DEFAULT_WIDTH) -> None:
        """Raise what `checks.require_buildable` raises; a module that ends its process is a RunProblemError."""
        self.ask(refuse_here, attn, variant, width)

    def _start(self) -> ChildProcess:
        self._child = ChildProcess("bench.conformance.isolation", shown=True)
        try:
            self._child.call(_ready)
        except ChildDiedError as error:
            self._end()
            raise RunProblemError(f"the process that checks modules does not start: {error}") from error
        return self._child

    def _end(self, kill: bool = False) -> None:
        child, self._child = self._child, None
        if child:
            if kill:
                child.kill()
            child.close()


def check(attn: str) -> list[Finding]:
    """Return the findings of `bench.conformance.checks.check`; a module that ends its process is a RunProblemError."""
    with ProbeProcess() as apart:
        return apart.ask(check_here, attn)


def require_buildable(attn: str, variant: VariantSpec, width: int = DEFAULT_WIDTH) -> None:
    """Do what `ProbeProcess.require_buildable` does, for one network."""
    with ProbeProcess() as apart:
        apart.require_buildable(attn, variant, width)


def examine(
    networks: Sequence[str], variants: Sequence[VariantSpec], width: int = DEFAULT_WIDTH
) -> tuple[list[str], dict[tuple[str, str], str]]:
    """Build networks, and then rehearse their runs, all in one child.

    Args:
        networks: slot lists, as the user wrote them.
        variants: that each is to be trained on.
        width: channels of each convolution.

    Returns:
        The names of the networks as they are written in records; and of each that is not fit, by its name and the name
        of the variant, the reason.

    Raises:
        UsageProblemError: a network does not exist or cannot be built.
        RunProblemError: a module ends the process while it is built, or no network is fit.
    """
    unfit: dict[tuple[str, str], str] = {}
    with ProbeProcess() as apart:
        for network in networks:
            apart.ask(_build, network, variants, width)
        names = [canonical_name(network) for network in networks]
        for name in dict.fromkeys(names):
            for variant in variants:
                if (name, variant.name) in unfit:
                    continue
                try:
                    apart.require_buildable(name, variant, width)
                except RunProblemError as error:
                    unfit[name, variant.name] = str(error).removeprefix(f"{name}: ")
    if len(unfit) == len({(name, variant.name) for name in names for variant in variants}):
        raise RunProblemError("; ".join(f"{name}: {why}" for (name, _), why in unfit.items()))
    return names, unfit


def _build(attn: str, variants: Sequence[VariantSpec], width: int) -> None:
    for law in variants:
        AttributeCNN(attn, law.classes, law.queries, number_of_stages(law.canvas), width=width)


def _answer(question: Callable[..., Any], files: Mapping[str, str], attn: str, *arguments: Any) -> Any:
    """Answer in the child, which knows a class by its digest after its files are found again.

    The working directory is given back afterwards: the next question may name a file by a relative path.
    """
    find_again(dict(files))
    try:
        with working_directory_kept():
            return question(attn, *arguments)
    except (Exception, SystemExit):
        raise
    except BaseException as error:  # Ctrl-C does not reach the child, so this is of the module
        raise RunProblemError(f"{attn}: not fit to be benchmarked: it raises {type(error).__name__}") from error


def _ready() -> None:
    """Answer when this module is imported in the child."""
