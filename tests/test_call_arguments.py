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


def definitions_of(tree: ast.Module) -> dict[str, int]:
    """Return the number of positional parameters of each function, class and method, `Class.method`, of a module.

    Compiled functions are left out, and functions that take any number of arguments.
    """
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = {
        node.name: count_positional(node)
        for node in tree.body
        if isinstance(node, (*kinds, ast.ClassDef)) and not (is_compiled(node) or is_variadic(node))
    }
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            found |= {
                f"{node.name}.{method.name}": count_positional(method) - 1
                for method in node.body
                if isinstance(method, kinds) and not is_variadic(method)
            }
    return found


def count_positional(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> int:
    """Return how many positional arguments a function takes, or a class: those of its constructor, or its fields."""
    if not isinstance(node, ast.ClassDef):
        return len(node.args.posonlyargs) + len(node.args.args)
    constructors = [each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"]
    if constructors:
        return count_positional(constructors[0]) - 1
    return sum(isinstance(each, ast.AnnAssign) for each in node.body)


def imports_of(tree: ast.Module) -> dict[str, str]:
    """Return the full name of each imported name."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.asname: alias.name for alias in node.names if alias.asname}
    return found


def calls_of(tree: ast.AST, owner: str = "", scope: ast.AST | None = None) -> list[tuple[ast.Call, str, ast.AST]]:
    """Return the calls of a module outside compiled functions, each with the class and the function that it is in."""
    found = []
    scope = scope or tree
    for node in ast.iter_child_nodes(tree):
        if is_compiled(node):
            continue
        if isinstance(node, ast.Call):
            found.append((node, owner, scope))
        inner = node if isinstance(node, ast.FunctionDef) else scope
        found += calls_of(node, node.name if isinstance(node, ast.ClassDef) else owner, inner)
    return found


def find_callee(call: ast.Call, module: str, owner: str, imports: dict[str, str]) -> str:
    """Return the full name of what a call calls; "" if it is not a name, an import, a method of `self`, or `cls`."""
    base, _, rest = ast.unparse(call.func).partition(".")
    if base == "cls" and not rest:
        return f"{module}.{owner}"
    if base == "self":
        return f"{module}.{owner}.{rest}"
    if base in imports:
        return f"{imports[base]}.{rest}".rstrip(".")
    return f"{base}.{rest}" if rest else f"{module}.{base}"


def resolve_export(name: str, imports: dict[str, dict[str, str]]) -> str:
    """Return where a name is defined that a module imports and others import from there.

    Args:
        name: full name.
        imports: module → imported name → full name.
    """
    module, _, rest = name.rpartition(".")
    while module and module not in imports:
        module, _, before = module.rpartition(".")
        rest = f"{before}.{rest}"
    first, _, others = rest.partition(".")
    target = imports.get(module, {}).get(first)
    return resolve_export(f"{target}.{others}".rstrip("."), imports) if target else name


def count_arguments(call: ast.Call, scope: ast.AST, most: int) -> int:
    """Return the number of positional arguments of a call.

    The arguments of `*values` are counted if the values stand in the call, or in the only assignment in its function.
    Others count as all that the callee takes besides the other arguments, unless the call hands on `**options`, too.

    Args:
        call: the call.
        scope: the function or the module that it is in.
        most: number of positional arguments that the callee takes.
    """
    count, is_unknown = 0, False
    for argument in call.args:
        if not isinstance(argument, ast.Starred):
            count += 1
        elif (values := find_elements(argument.value, scope)) is not None:
            count += values
        else:
            count, is_unknown = count + 1, True
    hands_on = any(keyword.arg is None for keyword in call.keywords)
    return max(count, most - len(call.keywords)) if is_unknown and not hands_on else count


def find_elements(node: ast.expr, scope: ast.AST) -> int | None:
    """Return the number of elements of a tuple or list, or of a name that is assigned one; None if it is unknown."""
    if isinstance(node, ast.Tuple | ast.List):
        return None if any(isinstance(each, ast.Starred) for each in node.elts) else len(node.elts)
    if isinstance(node, ast.Name):
        assigned = [
            value
            for each in ast.walk(scope)
            if isinstance(each, ast.Assign)
            for target in each.targets
            for name, value in pairs_of(target, each.value)
            if name == node.id
        ]
        if len(assigned) == 1 and isinstance(assigned[0], ast.Tuple | ast.List):
            return find_elements(assigned[0], scope)
    return None


def pairs_of(target: ast.expr, value: ast.expr) -> list[tuple[str, ast.expr]]:
    """Return the names of an assignment with their values, also of `a, b = 1, 2`."""
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
        return [pair for each in zip(target.elts, value.elts, strict=True) for pair in pairs_of(*each)]
    return [(target.id, value)] if isinstance(target, ast.Name) else []


def find_long_calls(trees: dict[str, ast.Module]) -> list[tuple[str, ast.Call, str]]:
    """Return the module, the call and the callee of every call of project code with too many positional arguments."""
    known = {
        f"{module}.{name}": most
        for module, tree in trees.items()
        if not module.startswith(NOT_CHECKED)
        for name, most in definitions_of(tree).items()
    }
    imports = {module: imports_of(tree) for module, tree in trees.items()}
    found = []
    for module, tree in trees.items():
        if module.startswith(NOT_CHECKED):
            continue
        for call, owner, scope in calls_of(tree):
            callee = resolve_export(find_callee(call, module, owner, imports[module]), imports)
            if callee in known and count_arguments(call, scope, known[callee]) > MOST_POSITIONAL:
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
        ("from bench.shop import f\nf(1, 2, 3, 4, 5, 6)", ["bench.a.f"]),
        ("from bench.shop import h as g\ng(1, 2, 3, 4, 5, 6)", ["bench.a.f"]),
        ("from bench import shop\nshop.h(1, 2, 3, 4, 5, 6)", ["bench.a.f"]),
        ("import bench.shop\nbench.shop.f(1, 2, 3, 4, 5, 6)", ["bench.a.f"]),
        ("import bench.a as here\nhere.f(1, 2, 3, 4, 5, 6)", ["bench.a.f"]),
        ("from bench.shop import a\na.f(1, 2, 3, 4, 5, 6)", ["bench.a.f"]),
        ("from bench.a import f\nf(*(1, 2, 3), *[4, 5, 6])", ["bench.a.f"]),
        ("from bench.a import f\nf(*(1, 2, 3), 4, 5)", []),
        ("from bench.a import six\ndef g(how): six(*how)", ["bench.a.six"]),
        ("from bench.a import six\ndef g(how): six(1, *how, f=2)", []),
        ("from bench.a import six\ndef g(args, options): six(*args, **options)", []),
        ("from bench.a import six\ndef g(): \n    a, how = 0, (1, 2)\n    six(*how, 3, 4, 5)", []),
        ("from bench.a import six\ndef g(): \n    how = 1, 2\n    six(*how, 3, 4, 5, 6)", ["bench.a.six"]),
        ("from bench.a import six\ndef g(): \n    how = 1, 2\n    how = how + how\n    six(*how)", ["bench.a.six"]),
        ("from bench.a import Six\ndef g(how): Six(*how)", ["bench.a.Six"]),
        ("from bench.a import Own\ndef g(how): Own(*how)", ["bench.a.Own"]),
        ("from bench.a import f\ndef g(how): f(*how)", []),
    ],
)
def test_a_call_with_many_positional_arguments_is_found(text, callees):
    """`bench.shop` exports names of `bench.a`."""
    names = ["a", "b", "c", "d", "e", "f"]
    own = "def f(): ...\n@compiled()\ndef g(): ...\n"
    own += f"def six({', '.join(names)}): ...\nclass Six:\n" + "".join(f"    {name}: int\n" for name in names)
    own += f"class Own:\n    def __init__(self, {', '.join(names)}): ...\n"
    shop = "from bench import a\nfrom bench.a import f, f as h\n"
    trees = parse_modules({"bench.a": own, "bench.b": text, "bench.shop": shop})
    assert [callee for _, _, callee in find_long_calls(trees)] == callees
