"""Functions have few parameters, and calls of the project's own functions name their arguments when there are many."""

import ast
import re

import pytest

from tests.test_architecture import MODULES, tree_of

MOST_POSITIONAL = 5
"""Maximum number of positional arguments of a call."""
MOST_PARAMETERS = 6
"""Maximum number of parameters of a function. More take a frozen dataclass."""
MANY_PARAMETERS = {
    "bench.attention.arnn.AttentionRNN.__init__": "public; the options of the mechanism",
    "bench.attention.brnn.BlockAttentionRNN.__init__": "public; the options of the mechanism",
    "bench.attention.cbam.CBAM.__init__": "public; the options of the mechanism",
    "bench.attention.cbam.CBAMAttentionRNN.__init__": "public; the options of the mechanism",
    "bench.attention.ltpa.GlobalLocalReadout.__init__": "public; the options of the mechanism",
    "bench.attribution_api.attack": "public",
    "bench.attribution_api.saliency": "public",
    "bench.distributed.global_batch._GlobalBatchNorm._batch_norm": "the parameters of F.batch_norm",
    "bench.model.create_model": "public",
    "bench.networks.attribute.AttributeCNN.__init__": "public",
    "mnistref.api.generate": "public; the options of the command",
    "mnistref.api.load": "public",
}
"""Functions with more parameters, and the reason."""
NOT_CHECKED = ("bench.kernels",)
"""Packages whose functions are compiled, which take arrays and sizes in the order of memory."""
COMPILERS = {"compiled"}
"""Decorators of compiled functions elsewhere."""


def parse_modules(sources: dict[str, str]) -> dict[str, ast.Module]:
    return {name: ast.parse(text) for name, text in sources.items()}


def is_compiled(node: ast.AST) -> bool:
    """Return whether a node is a function with a decorator of `COMPILERS`, with or without options."""
    decorators = getattr(node, "decorator_list", [])
    names = [decorator.func if isinstance(decorator, ast.Call) else decorator for decorator in decorators]
    return any(isinstance(name, ast.Name) and name.id in COMPILERS for name in names)


def is_variadic(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.args.vararg is not None


def definitions_of(tree: ast.Module) -> set[str]:
    """Return the names of the functions and classes of a module, methods as `Class.method`.

    Compiled functions are left out, and functions that take any number of arguments.
    """
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    found = {
        node.name for node in tree.body if isinstance(node, kinds) and not (is_compiled(node) or is_variadic(node))
    }
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            found |= {
                f"{node.name}.{method.name}"
                for method in node.body
                if isinstance(method, kinds) and not is_variadic(method)
            }
    return found


def imports_of(tree: ast.Module) -> dict[str, str]:
    """Return the full name of each imported name."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return found


def calls_of(tree: ast.AST, owner: str = "") -> list[tuple[ast.Call, str]]:
    """Return the calls of a module outside compiled functions, each with the class that it is in."""
    found = []
    for node in ast.iter_child_nodes(tree):
        if is_compiled(node):
            continue
        if isinstance(node, ast.Call):
            found.append((node, owner))
        found += calls_of(node, node.name if isinstance(node, ast.ClassDef) else owner)
    return found


def find_callee(call: ast.Call, module: str, owner: str, imports: dict[str, str]) -> str:
    """Return the full name of what a call calls; "" if it is not a name, an import, a method of `self`, or `cls`."""
    function = call.func
    if isinstance(function, ast.Name):
        return f"{module}.{owner}" if function.id == "cls" else imports.get(function.id, f"{module}.{function.id}")
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
        base = function.value.id
        return f"{module}.{owner}.{function.attr}" if base == "self" else f"{imports.get(base, base)}.{function.attr}"
    return ""


def find_long_calls(trees: dict[str, ast.Module]) -> list[tuple[str, ast.Call, str]]:
    """Return the module, the call and the callee of every call of project code with too many positional arguments."""
    known = {
        f"{module}.{name}"
        for module, tree in trees.items()
        if not module.startswith(NOT_CHECKED)
        for name in definitions_of(tree)
    }
    found = []
    for module, tree in trees.items():
        if module.startswith(NOT_CHECKED):
            continue
        imports = imports_of(tree)
        for call, owner in calls_of(tree):
            callee = find_callee(call, module, owner, imports)
            if len(call.args) > MOST_POSITIONAL and callee in known:
                found.append((module, call, callee))
    return found


def test_calls_name_their_arguments():
    trees = {name: tree_of(name) for name in MODULES}
    long = [f"{MODULES[module]}:{call.lineno}: {callee}" for module, call, callee in find_long_calls(trees)]
    assert not long, f"more than {MOST_POSITIONAL} positional arguments; name them:\n" + "\n".join(long)


def is_command(node: ast.FunctionDef) -> bool:
    """Return whether a function is a command of click, whose parameters are the options."""
    return any(re.search(r"\bcommand\b", ast.unparse(decorator)) for decorator in node.decorator_list)


def count_parameters(trees: dict[str, ast.Module]) -> dict[str, int]:
    """Return the number of parameters of each function and method, by its full name, without `self` and `cls`.

    Commands of click, compiled functions and functions within functions are left out.
    """
    found = {}
    for module, tree in trees.items():
        if module.startswith(NOT_CHECKED):
            continue
        owners = {"": tree} | {f"{node.name}.": node for node in tree.body if isinstance(node, ast.ClassDef)}
        for prefix, owner in owners.items():
            for node in owner.body:
                if not isinstance(node, ast.FunctionDef) or is_command(node) or is_compiled(node):
                    continue
                arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                names = [argument.arg for argument in arguments]
                found[f"{module}.{prefix}{node.name}"] = len(names) - (names[:1] in (["self"], ["cls"]))
    return found


def test_functions_have_few_parameters():
    trees = {name: tree_of(name) for name in MODULES}
    many = {name for name, count in count_parameters(trees).items() if count > MOST_PARAMETERS}
    assert many == MANY_PARAMETERS.keys(), f"more than {MOST_PARAMETERS} parameters: take a frozen dataclass"


def test_parameters_are_counted():
    text = "def f(a, /, b, *c, d): ...\nclass C:\n    def m(self, a): ...\n    @classmethod\n    def n(cls): ...\n"
    text += "@click.command()\ndef g(a): ...\n@compiled\ndef h(a): ..."
    assert count_parameters(parse_modules({"bench.a": text})) == {"bench.a.f": 3, "bench.a.C.m": 1, "bench.a.C.n": 0}


@pytest.mark.parametrize(
    ("text", "callees"),
    [
        ("from bench.a import f\nf(1, 2, 3, 4, 5, 6)", ["bench.a.f"]),
        ("from bench.a import f\nf(1, 2, 3, 4, 5, z=6)", []),
        ("from bench import a\na.f(1, 2, 3, 4, *rest, 6)", ["bench.a.f"]),
        ("from bench import a\na.g(1, 2, 3, 4, 5, 6)", []),
        ("class C:\n    def m(self):\n        self.m(1, 2, 3, 4, 5, 6)", ["bench.b.C.m"]),
        ("class C:\n    @classmethod\n    def of(cls):\n        return cls(1, 2, 3, 4, 5, 6)", ["bench.b.C"]),
        ("@compiled\ndef f():\n    f(1, 2, 3, 4, 5, 6)\n\n\nf(1, 2, 3, 4, 5, 6)", []),
        ("def f(*a): ...\nf(1, 2, 3, 4, 5, 6)", []),
        ("print(1, 2, 3, 4, 5, 6)", []),
        ("def f():\n    def inner(): f(1, 2, 3, 4, 5, 6)", ["bench.b.f"]),
    ],
)
def test_a_call_with_many_positional_arguments_is_found(text, callees):
    trees = parse_modules({"bench.a": "def f(): ...\n@compiled()\ndef g(): ...", "bench.b": text})
    assert [callee for _, _, callee in find_long_calls(trees)] == callees
