"""Checks of user modules in a child process, so that a module cannot end the parent process.

Shipped mechanisms are checked in the parent process, which saves the start of a child process.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Concatenate, ParamSpec, Self, TypeVar

from bench.attention import NetworkSpec, names_user_module
from bench.attention.network import ATTRIBUTE, require_slots_exist
from bench.attention.plugins import load_recorded, recorded_files, require_files_exist
from bench.conformance import checks
from bench.conformance.checks import Finding
from bench.model import CheckedNetwork
from bench.networks import create, get_network, resolve
from mnistref.common.atomic_files import working_directory_kept
from mnistref.common.child_process import ChildDiedError, ChildProcess
from mnistref.common.errors import RunProblemError
from mnistref.spec import VariantSpec

Arguments = ParamSpec("Arguments")
Value = TypeVar("Value")


class ProbeProcess:
    """Calls functions of networks: in one child process if a network has a user module, otherwise in this process.

    A context manager. The child process starts at the first call that needs it, and ends with the context. Text that
    user code prints goes to stderr.
    """

    def __init__(self) -> None:
        self._child: ChildProcess | None = None

    def __enter__(self) -> Self:
        """Enter the context."""
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """End the child process; kill it if the context raises an error."""
        self._end(kill=kind is not None)

    def call(
        self,
        function: Callable[Concatenate[str, Arguments], Value],
        attn: str,
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Value:
        """Return the value of a function of a network.

        Args:
            function: an importable function. Its first argument is a slot list.
            attn: the slot list.
            args: more arguments.
            kwargs: keyword arguments.

        Raises:
            RunProblemError: the module ended its process.
        """
        if not names_user_module(attn):
            return function(attn, *args, **kwargs)
        if not self._child:
            require_files_exist(attn)
        child = self._child or self._start()
        try:
            value: Value = child.call(_call_in_child, function, recorded_files(attn), attn, args, kwargs)
        except ChildDiedError as error:
            self._end()
            ending = f"{error}{error.advice('free some memory')}"
            what = (
                "the module ended the process with"
                if ending.startswith("exit code")
                else "the module's process failed:"
            )
            raise RunProblemError(f"{attn}: not fit to be benchmarked: {what} {ending}") from error
        return value

    def require_buildable_in_probe(
        self, network: str | NetworkSpec, variant: VariantSpec, width: int | None = None, architecture: str = ATTRIBUTE
    ) -> None:
        """Do what `bench.conformance.checks.require_buildable` does.

        Raises:
            RunProblemError: a user module failed a check, or ended its process.
        """
        if isinstance(network, str):
            self.call(checks.require_buildable, network, variant, width, architecture)
        elif network.has_user_module:  # the child process resolves the name, because it has its own classes
            self.call(checks.require_buildable, network.name, variant, network.width, network.architecture)
        else:
            checks.require_buildable(network, variant)

    def _start(self) -> ChildProcess:
        self._child = ChildProcess("bench.conformance.isolation", shown=True)
        try:
            self._child.call(_import_this_module)
        except ChildDiedError as error:
            self._end()
            raise RunProblemError(f"the process for checks of user modules does not start: {error}") from error
        return self._child

    def _end(self, kill: bool = False) -> None:
        child, self._child = self._child, None
        if child:
            if kill:
                child.kill()
            child.close()


def check_isolated(attn: str, architecture: str = ATTRIBUTE) -> list[Finding]:
    """Return the findings of `bench.conformance.checks.check_mechanism`.

    Raises:
        RunProblemError: the module ended its process.
    """
    ((_, findings),) = check_in_networks(attn, [architecture])
    return findings


def check_in_networks(attn: str, architectures: Iterable[str]) -> Iterator[tuple[str, list[Finding]]]:
    """Yield the name of each network and the findings of `bench.conformance.checks.check_mechanism` in it.

    Raises:
        RunProblemError: the module ended its process.
    """
    with ProbeProcess() as process:
        for name in architectures:
            yield name, process.call(checks.check_mechanism, attn, name)


def resolve_checked(
    attn: str, variant: VariantSpec, seed: int, width: int | None = None, architecture: str = ATTRIBUTE
) -> CheckedNetwork:
    """Return the network of a slot list after the checks of `prepare_network`.

    A user module is imported and checked in a child process before this process imports it.

    Args:
        attn: the slot list.
        variant: image size, queries and classes of the run.
        seed: seed of the run.
        width: scales the channels; None for the default of the network.
        architecture: name of the network around the mechanisms, see `bench.networks`.

    Raises:
        UsageProblemError: the network does not exist, cannot be built, or does not work on images of the variant.
        RunProblemError: a user module failed a check, or ended its process.
    """
    _require_slots_exist(attn, [variant], architecture)
    if names_user_module(attn):
        with ProbeProcess() as process:
            process.require_buildable_in_probe(attn, variant, width, architecture)
        return CheckedNetwork(resolve(attn, width, architecture))
    return prepare_network(resolve(attn, width, architecture), variant, seed)


def prepare_network(network: NetworkSpec, variant: VariantSpec, seed: int) -> CheckedNetwork:
    """Return a network after the checks of `bench.conformance.checks.require_buildable`, with what was built for them.

    Args:
        network: the network.
        variant: image size, queries and classes of the run.
        seed: seed of the run.

    Raises:
        UsageProblemError: the network cannot be built, or does not work on images of the variant.
        RunProblemError: a user module failed a check, or ended its process.
    """
    if not network.has_user_module:
        return CheckedNetwork(network, checks.build_checked(network, variant, seed))
    with ProbeProcess() as process:
        process.require_buildable_in_probe(network, variant)
    return CheckedNetwork(network)


def examine_networks(
    attns: Sequence[str], variants: Sequence[VariantSpec], width: int | None = None, architecture: str = ATTRIBUTE
) -> tuple[list[NetworkSpec], dict[tuple[str, str], str]]:
    """Build networks and run the quick checks on them, in one child process if there are user modules.

    Args:
        attns: slot lists, as the user wrote them.
        variants: variants for which each network is checked.
        width: scales the channels; None for the default of the network.
        architecture: name of the network around the mechanisms, see `bench.networks`.

    Returns:
        The resolved networks; and for each network and variant that failed a check, by their names, the reason.

    Raises:
        UsageProblemError: a network does not exist or cannot be built.
        RunProblemError: a module ended the process while it was built, or all networks failed.
    """
    unfit: dict[tuple[str, str], str] = {}
    with ProbeProcess() as process:
        networks = _resolve_and_build(process, attns, variants, width, architecture)
        different = list(dict.fromkeys(networks))
        for network in different:
            name = network.name
            for variant in variants if network.has_user_module else ():
                if (name, variant.name) in unfit:
                    continue
                try:
                    process.require_buildable_in_probe(network, variant)
                except RunProblemError as error:
                    unfit[name, variant.name] = str(error).removeprefix(f"{name}: ")
    if len(unfit) == len({(network.name, variant.name) for network in different for variant in variants}):
        raise RunProblemError("; ".join(f"{name}: {reason}" for (name, _), reason in unfit.items()))
    return networks, unfit


def _resolve_and_build(
    process: ProbeProcess, attns: Sequence[str], variants: Sequence[VariantSpec], width: int | None, architecture: str
) -> list[NetworkSpec]:
    """Return the networks of slot lists after each was built once. User modules are built in a child process.

    A network without user modules is also called, if its options are not usual.

    The parent process imports user modules only after all networks have been built in the child process.
    """
    resolved: dict[str, NetworkSpec] = {}
    for attn in attns:
        _require_slots_exist(attn, variants, architecture)
        if names_user_module(attn):
            process.call(_build, attn, variants, width, architecture)
        else:
            network = resolved[attn] = resolve(attn, width, architecture)
            for variant in variants:
                if checks.build_checked(network, variant) is None:
                    _build(attn, [variant], width, architecture)
    return [resolved.get(attn) or resolve(attn, width, architecture) for attn in attns]


def _require_slots_exist(attn: str, variants: Sequence[VariantSpec], architecture: str) -> None:
    """Raise UsageProblemError if a slot list has too many names, before another rule about slots is checked."""
    entry = get_network(architecture)
    slots = min(len(entry.layout(None, (variant.canvas, variant.canvas)).slots) for variant in variants)
    require_slots_exist(attn, len(attn.split(",")), slots)


def _build(attn: str, variants: Sequence[VariantSpec], width: int | None, architecture: str) -> None:
    for variant in variants:
        size = (variant.canvas, variant.canvas)
        create(resolve(attn, width, architecture, size), variant.classes, variant.queries, size)


def _call_in_child(
    function: Callable[..., Value],
    files: Mapping[str, str],
    attn: str,
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
) -> Value:
    """Call a function in the child process, after the user files of the network are imported.

    The working directory is restored, because a later call may use a relative path.
    """
    load_recorded(dict(files))
    try:
        with working_directory_kept():
            return function(attn, *args, **kwargs)
    except (Exception, SystemExit):
        raise
    except BaseException as error:  # the child ignores Ctrl-C, so the module has raised this
        raise RunProblemError(f"{attn}: not fit to be benchmarked: it raises {type(error).__name__}") from error


def _import_this_module() -> None:
    """Do nothing. A call shows that the child process can import this module."""
