"""The plan of the code: who may import whom, and what a pure room may not touch."""

import ast
from functools import cache
from pathlib import Path

import pytest

TOP = Path(__file__).parent.parent
MODULES = {
    ".".join(path.relative_to(TOP).with_suffix("").parts).removesuffix(".__init__"): path
    for package in ("mnistref", "bench")
    for path in sorted((TOP / package).rglob("*.py"))
} | {"cli": TOP / "cli.py"}

FOUNDATIONS = {
    "mnistref.child_process",
    "mnistref.compiled",
    "mnistref.console",
    "mnistref.ending",
    "mnistref.errors",
    "mnistref.figures",
    "mnistref.files",
    "mnistref.interrupts",
    "mnistref.kept",
    "mnistref.program",
    "mnistref.spec",
    "mnistref.text",
    "mnistref.version",
}
DOORS = {"mnistref.dataset", "mnistref.executors", "mnistref.fresh", "mnistref.generate", "mnistref.variants"}
"""What `bench` may see of `mnistref`, beside the foundations."""

MAY_IMPORT = {
    "mnistref.compiled": {"mnistref.kept"},
    "mnistref.kept": set(),
    "mnistref.rng": {"mnistref.compiled"},
    "mnistref.resize": {"mnistref.compiled"},
    "mnistref.variants": {"mnistref.errors", "mnistref.spec"},
    "mnistref.schema": {"mnistref.errors", "mnistref.spec"},
    "mnistref.queries": {"mnistref.spec"},
    "mnistref.scene": {"mnistref.compiled", "mnistref.resize", "mnistref.rng", "mnistref.spec"},
    "mnistref.shards": {"mnistref.errors", "mnistref.files", "mnistref.schema"},
    "bench.config": {"mnistref.errors", "mnistref.spec"},
    "bench.metrics": {"bench.metric_inputs", "bench.unchecked_metrics"},
    "bench.metric_inputs": {"bench.output_checks", "bench.plain_tensors", "mnistref.spec"},
    "bench.plain_tensors": set(),
    "bench.output_checks": set(),
    "bench.unchecked_metrics": {"mnistref.spec"},
    "bench.statistics": set(),
    "bench.shell": {"bench.config"},
    "bench.measures": {"mnistref.spec"},
    "bench.soundness": {"bench.measures", "mnistref.variants"},
    "bench.leaderboard": {
        *("bench.config", "bench.measures", "bench.published", "bench.shell", "bench.soundness", "bench.statistics")
    },
    "bench.numerals": set(),
    "bench.claims": {"bench.config", "bench.leaderboard", "bench.measures", "bench.published", "bench.statistics"},
    "bench.boards": {
        *("bench.claims", "bench.config", "bench.leaderboard", "bench.measures", "bench.numerals", "bench.statistics"),
        *("mnistref.text", "mnistref.variants"),
    },
    "bench.committed": {
        *("bench.boards", "bench.config", "bench.json_files", "bench.leaderboard", "bench.records"),
        *("mnistref.errors", "mnistref.files"),
    },
    "bench.computing": {"bench.kernels.diagonal_lstm", "mnistref.errors"},
    "bench.report": set(),
    "bench.report.command": {
        *("bench.options", "bench.report.page", "mnistref.console", "mnistref.files", "mnistref.program"),
    },
    "bench.report.page": {
        *(f"bench.report.{name}" for name in ("curves", "entries", "figures", "markdown")),
        *(f"bench.report.{name}" for name in ("pictures", "reading", "table")),
        *("bench.boards", "bench.config", "bench.leaderboard", "bench.records", "bench.statistics"),
        *("mnistref.errors", "mnistref.version"),
    },
    "bench.report.entries": {"bench.config", "bench.leaderboard", "bench.soundness"},
    "bench.report.table": {"bench.numerals", "bench.report.entries"},
    "bench.report.charts": set(),
    "bench.report.figures": {
        *(f"bench.report.{name}" for name in ("charts", "entries", "rates", "table")),
        *("bench.measures", "bench.numerals", "mnistref.spec"),
    },
    "bench.report.rates": {"bench.numerals", "bench.published", "bench.report.entries", "bench.statistics"},
    "bench.report.curves": {
        *(f"bench.report.{name}" for name in ("charts", "entries", "figures", "table")),
        "bench.numerals",
    },
    "bench.report.markdown": set(),
    "bench.report.reading": {"bench.json_files", "bench.records"},
    "bench.report.pictures": {"bench.json_files", "bench.pictures", "bench.report.entries", "mnistref.errors"},
    "bench.step": {"bench.computing", "bench.config"},
    "bench.whole": set(),
    "bench.parallel": {"bench.computing", "bench.config", "bench.step", "bench.whole", "mnistref.errors"},
    "bench.train": {
        *("bench.batches", "bench.config", "bench.computing", "bench.evaluate", "bench.grouping"),
        *("bench.kernels.diagonal_lstm", "bench.parallel", "bench.split", "bench.step", "bench.whole"),
    },
    "bench.grouping": {"bench.split", "bench.whole"},
    "bench.timing": {
        *("bench.computing", "bench.config", "bench.kernels.diagonal_lstm.ran", "bench.memory", "bench.step"),
        "mnistref.spec",
    },
    "bench.runtime": {
        "bench.apart",
        "bench.attention",
        "bench.capture",
        "bench.config",
        "bench.computing",
        "bench.kernels.diagonal_lstm",
        "bench.model",
        "bench.outofmemory",
        "bench.timing",
        "mnistref.errors",
        "mnistref.spec",
        "mnistref.text",
    },
    "bench.bars": {"mnistref.errors", "mnistref.figures"},
    "bench.pictures": {
        *("bench.evaluate", "bench.model", "bench.output_checks", "bench.panels", "bench.split"),
        "bench.unchecked_metrics",
        *("mnistref.files", "mnistref.spec"),
    },
    "bench.packing": {"mnistref.errors"},
    "bench.answers": {"bench.packing", "bench.soundness", "bench.tensorfile", "mnistref.errors", "mnistref.files"},
    "bench.records": {
        *("bench.answers", "bench.computing", "bench.config", "bench.environment", "bench.json_files"),
        "bench.soundness",
        *("mnistref.dataset", "mnistref.errors", "mnistref.files", "mnistref.version"),
    },
    "bench.json_files": {"mnistref.errors", "mnistref.files"},
    "bench.environment": {"bench.computing", "mnistref.errors", "mnistref.version"},
    "bench.sweep": {
        "bench.attention",
        "bench.computing",
        "bench.config",
        "bench.experiment",
        "bench.plugins",
        "bench.records",
        "bench.watch",
        "bench.worker",
        "mnistref.errors",
        "mnistref.executors",
    },
    "bench.worker": {
        *("bench.config", "bench.experiment", "bench.leftovers", "bench.plugins", "bench.records", "bench.warned"),
        *("bench.watch", "mnistref.child_process", "mnistref.errors"),
    },
    "bench.leftovers": {"bench.memory", "mnistref.dataset"},
    "bench.warned": set(),
    "bench.options": {
        *("bench.attention", "bench.computing", "bench.config", "bench.values", "bench.watch"),
        *("mnistref.program", "mnistref.variants"),
    },
    "bench.values": {"mnistref.spec"},
    "bench.watch": {"bench.config", "mnistref.errors"},
    "bench.repeat": {
        *("bench.config", "bench.records", "bench.runs"),
        *("mnistref.dataset", "mnistref.errors", "mnistref.files", "mnistref.generate"),
    },
    "bench.costs": {
        *("bench.computing", "bench.config", "bench.model", "bench.timing", "mnistref.errors", "mnistref.spec")
    },
    "bench.outofmemory": {
        *("bench.computing", "bench.config", "bench.memory", "bench.model", "bench.timing", "mnistref.spec")
    },
    "bench.experiment": {
        *("bench.batches", "bench.checkpoints", "bench.config", "bench.configuring", "bench.data", "bench.environment"),
        *("bench.evaluate", "bench.kernels.diagonal_lstm", "bench.kernels.diagonal_lstm.ran", "bench.memory"),
        *("bench.model", "bench.online", "bench.computing", "bench.costs", "bench.outofmemory", "bench.parallel"),
        *("bench.pictures", "bench.plugins", "bench.records", "bench.runs", "bench.split", "bench.train"),
        *("bench.watch", "mnistref.dataset", "mnistref.errors", "mnistref.files", "mnistref.generate"),
    },
    "bench.batches": {"bench.evaluate", "bench.outofmemory"},
    "bench.capture": {"bench.attention", "bench.config", "mnistref.errors", "mnistref.spec"},
    "bench.configuring": {
        *("bench.attention", "bench.capture", "bench.computing", "bench.config", "bench.model", "bench.parallel"),
        *("bench.records", "bench.runs", "mnistref.dataset", "mnistref.errors", "mnistref.generate"),
        "mnistref.variants",
    },
    "bench.runs": {
        "bench.checkpoints",
        "bench.config",
        "bench.model",
        "bench.plugins",
        "bench.records",
        "mnistref.errors",
        "mnistref.variants",
    },
    "bench.asked": {
        *("bench.config", "bench.model", "bench.panels", "bench.pictures"),
        *("mnistref.dataset", "mnistref.errors", "mnistref.variants"),
    },
    "bench.beside": {
        *("bench.asked", "bench.config", "bench.drawing", "bench.panels", "bench.runs"),
        *("mnistref.errors", "mnistref.figures"),
    },
    "bench.show": {
        *("bench.asked", "bench.attention", "bench.attention.arnn", "bench.config", "bench.drawing", "bench.model"),
        *("bench.panels", "bench.runs"),
        *("mnistref.dataset", "mnistref.errors", "mnistref.figures", "mnistref.variants"),
    },
    "bench.panels": {"bench.output_checks", "bench.model", "bench.unchecked_metrics", "mnistref.spec"},
    "bench.drawing": {"bench.panels", "mnistref.errors", "mnistref.figures"},
    "bench.model": {
        "bench.attention",
        "bench.attention.base",
        "bench.attention.frames",
        "bench.config",
        "bench.kernels.pool",
        "mnistref.spec",
        "mnistref.variants",
    },
    "bench.mechanism": {"mnistref.errors", "mnistref.files"},
    "bench.attention": {
        "bench.attention.arnn",
        "bench.attention.pan",
        "bench.mechanism",
        "bench.plugins",
        "mnistref.errors",
    },
    "bench.plugins": {"bench.attention.base", "bench.mechanism", "mnistref.errors", "mnistref.files"},
    "bench.apart": {
        *("bench.attention", "bench.check", "bench.config", "bench.model", "bench.plugins"),
        *("mnistref.child_process", "mnistref.errors", "mnistref.files", "mnistref.spec"),
    },
    "bench.check": {
        "bench.attention",
        "bench.attention.base",
        "bench.config",
        "bench.kernels.diagonal_lstm",
        "bench.mechanism",
        "bench.model",
        "bench.probe",
        "bench.questions",
        "bench.rehearsal",
        "mnistref.errors",
        "mnistref.spec",
    },
    "bench.questions": {
        "bench.attention.base",
        "bench.config",
        "bench.mechanism",
        "bench.model",
        "bench.plugins",
        "bench.probe",
        "bench.rehearsal",
        "mnistref.spec",
    },
    "bench.rehearsal": {
        "bench.computing",
        "bench.config",
        "bench.evaluate",
        "bench.model",
        "bench.pictures",
        "bench.probe",
        "bench.split",
        "bench.step",
        "bench.tensorfile",
        "bench.train",
        "mnistref.errors",
        "mnistref.spec",
        "mnistref.variants",
    },
    "bench.probe": {"bench.attention.base", "bench.config", "bench.mechanism", "bench.model", "mnistref.variants"},
    "bench.attention.base": {"bench.kernels.gate", "bench.kernels.transforms"},
    "bench.attention.frames": set(),
    "bench.kernels.buffers": set(),
    "bench.kernels.threads": set(),
    "bench.kernels.vectors": set(),
    "bench.kernels.transforms": set(),
    "bench.kernels.trying": set(),
    "bench.kernels.pool": {
        *("bench.kernels.pool.cpu", "bench.kernels.transforms", "bench.kernels.trying", "mnistref.compiled"),
    },
    "bench.kernels.pool.cpu": {"bench.kernels.pool.passes", "bench.kernels.threads"},
    "bench.kernels.pool.passes": {"mnistref.compiled"},
    "bench.kernels.gate": {
        *("bench.kernels.gate.cpu", "bench.kernels.gate.score", "bench.kernels.transforms", "bench.kernels.trying"),
    },
    "bench.kernels.gate.shared": {"bench.kernels.threads"},
    "bench.kernels.gate.passes": {"bench.kernels.vectors", "mnistref.compiled"},
    "bench.kernels.gate.score_passes": {"bench.kernels.gate.passes", "bench.kernels.vectors"},
    "bench.kernels.gate.cpu": {"bench.kernels.gate.passes", "bench.kernels.gate.shared"},
    "bench.kernels.gate.score": {"bench.kernels.gate.score_passes", "bench.kernels.gate.shared"},
    "bench.kernels.diagonal_lstm": {
        *(f"bench.kernels.diagonal_lstm.{name}" for name in ("cpu", "gpu", "packed", "ran", "reference", "selftest")),
        "bench.kernels.transforms",
    },
    "bench.kernels.diagonal_lstm.ran": set(),
    "bench.kernels.diagonal_lstm.selftest": set(),
    "bench.kernels.diagonal_lstm.reference": set(),
    "bench.kernels.diagonal_lstm.once": set(),
    "bench.kernels.diagonal_lstm.packed": {"bench.kernels.buffers", "bench.kernels.diagonal_lstm.once"},
    "bench.kernels.diagonal_lstm.triton_dot": set(),
    "bench.kernels.diagonal_lstm.triton_weights": {"bench.kernels.diagonal_lstm.triton_dot"},
    "bench.kernels.diagonal_lstm.wavefront": {"bench.kernels.diagonal_lstm.triton_dot"},
    "bench.kernels.diagonal_lstm.gpu": {
        *(f"bench.kernels.diagonal_lstm.{name}" for name in ("once", "triton_weights", "wavefront"))
    },
    "bench.kernels.diagonal_lstm.products": {"bench.kernels.vectors", "mnistref.compiled"},
    "bench.kernels.diagonal_lstm.raster": {"bench.kernels.diagonal_lstm.products", "bench.kernels.vectors"},
    "bench.kernels.diagonal_lstm.raster_backward": {"bench.kernels.diagonal_lstm.products", "bench.kernels.vectors"},
    "bench.kernels.diagonal_lstm.cpu": {
        "bench.kernels.buffers",
        "bench.kernels.diagonal_lstm.once",
        "bench.kernels.diagonal_lstm.products",
        "bench.kernels.diagonal_lstm.raster",
        "bench.kernels.diagonal_lstm.raster_backward",
        "bench.kernels.threads",
    },
    "bench.ahead": set(),
    "bench.memory": set(),
    "bench.split": set(),
    "bench.stream": {"bench.ahead", "bench.split"},
    "bench.data": {"bench.memory", "bench.split", "bench.stream", "mnistref.dataset"},
    "bench.online": {
        "bench.ahead",
        "bench.config",
        "bench.data",
        "bench.memory",
        "bench.split",
        "mnistref.dataset",
        "mnistref.errors",
        "mnistref.executors",
        "mnistref.fresh",
    },
    "bench.evaluate": {
        *("bench.measures", "bench.model", "bench.output_checks", "bench.parallel", "bench.split"),
        "bench.unchecked_metrics",
    },
    "bench.checkpoints": {"bench.tensorfile", "bench.train", "mnistref.errors", "mnistref.files"},
    "mnistref.render": {"mnistref.compiled", "mnistref.resize", "mnistref.rng", "mnistref.scene", "mnistref.spec"},
    "mnistref.dataset": {
        "mnistref.errors",
        "mnistref.manifest",
        "mnistref.queries",
        "mnistref.schema",
        "mnistref.shard_files",
        "mnistref.shards",
    },
    "mnistref.shard_files": {"mnistref.shards"},
    "mnistref.child_pool": {"mnistref.child_process"},
    "mnistref.executors": {"mnistref.child_pool", "mnistref.compiled", "mnistref.errors"},
    "mnistref.fresh": {
        "mnistref.compiled",
        "mnistref.errors",
        "mnistref.manifest",
        "mnistref.queries",
        "mnistref.schema",
        "mnistref.shards",
        "mnistref.sources",
        "mnistref.sources.bank",
        "mnistref.sources.digits",
        "mnistref.sources.photos",
        "mnistref.spec",
        "mnistref.work",
    },
}
"""Rooms whose whole list of our own modules is fixed."""

TRITON = {
    *(f"bench.kernels.diagonal_lstm.{name}" for name in ("gpu", "triton_dot", "triton_weights", "wavefront")),
}
"""Modules that import Triton, and that are imported when they are used."""

PURE = [
    "mnistref.spec",
    "mnistref.variants",
    "mnistref.rng",
    "mnistref.resize",
    "mnistref.scene",
    "mnistref.render",
    "mnistref.reference",
    "mnistref.schema",
    "mnistref.form",
    "mnistref.queries",
    "mnistref.card",
    "mnistref.credits",
    "mnistref.croissant",
    "bench.config",
    "bench.metrics",
    "bench.metric_inputs",
    "bench.output_checks",
    "bench.plain_tensors",
    "bench.unchecked_metrics",
    "bench.claims",
    "bench.leaderboard",
    "bench.measures",
    "bench.numerals",
    "bench.panels",
    "bench.shell",
    "bench.soundness",
    "bench.statistics",
    "bench.report.charts",
    "bench.report.curves",
    "bench.report.entries",
    "bench.report.figures",
    "bench.report.markdown",
    "bench.report.rates",
    "bench.report.table",
    "bench.tensorfile",
]
IMPURE_MODULES = {
    "datetime",
    "io",
    "os",
    "pathlib",
    "random",
    "requests",
    "shutil",
    "socket",
    "subprocess",
    "time",
    "urllib",
}
IMPURE_CALLS = {"open", "print", "input"}


@cache
def tree_of(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text(encoding="utf-8"))


@cache
def imports_of(name: str, everywhere: bool = True) -> set[str]:
    """Full names of the modules that a module imports, anywhere or at its top level only."""
    tree = tree_of(name)
    found = set()
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            below = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {module for module in below if module in MODULES} or {node.module}
    return found


def ours(name: str) -> set[str]:
    return {module for module in imports_of(name) if module in MODULES}


def test_mnistref_never_sees_bench():
    """But for the entry points of the installed programs."""
    for name in MODULES.keys() - {"mnistref.start"}:
        if name.startswith("mnistref"):
            assert not any(module.startswith("bench") for module in imports_of(name)), name


def test_a_foundation_stands_on_foundations():
    for name in FOUNDATIONS:
        assert ours(name) <= FOUNDATIONS, name


def test_bench_sees_mnistref_through_its_doors():
    for name in MODULES:
        if name.startswith("bench"):
            assert {m for m in ours(name) if m.startswith("mnistref")} <= FOUNDATIONS | DOORS, name


def test_nothing_imports_the_commands():
    """But where the programs begin, once they run."""
    commands = {"mnistref.commands", "bench.commands"}
    assert not imports_of("mnistref.start", everywhere=False) & commands
    for name in MODULES:
        assert "cli" not in imports_of(name), name
        assert name in ("cli", "mnistref.start") or not imports_of(name) & commands, name


@pytest.mark.parametrize("name", MAY_IMPORT)
def test_a_room_imports_what_the_plan_says(name):
    assert ours(name) <= MAY_IMPORT[name]


def test_imports_run_one_way():
    """No circle among our modules (the packages' own __init__ files, which only hand on names, left out)."""
    graph = {name: {m for m in ours(name) if m not in ("mnistref", "bench")} for name in MODULES}
    graph = {name: targets for name, targets in graph.items() if name not in ("mnistref", "bench")}
    while graph:
        ground = {name for name, targets in graph.items() if not targets & graph.keys()}
        assert ground, f"a circle among {sorted(graph)}"
        graph = {name: targets for name, targets in graph.items() if name not in ground}


@pytest.mark.parametrize("name", PURE)
def test_a_pure_room_touches_no_files_clock_or_global_generator(name):
    roots = {module.split(".")[0] for module in imports_of(name)}
    assert not roots & IMPURE_MODULES
    tree = tree_of(name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            assert not (isinstance(node.func, ast.Name) and node.func.id in IMPURE_CALLS), ast.unparse(node)
        if isinstance(node, ast.Attribute) and ast.unparse(node).startswith("np.random."):
            assert node.attr == "Philox", ast.unparse(node)  # a keyed stream, no shared state


def test_attention_knows_no_variants_files_or_triton():
    for name in MODULES:
        if name.startswith("bench.attention"):
            assert not imports_of(name) & {"triton", "pathlib", "os", "mnistref.variants", "bench.config"}, name


def test_kernels_are_functions_of_tensors():
    """Of all else they see only how functions are compiled; what is optional is imported when it is used."""
    for name in MODULES:
        if name.startswith("bench.kernels"):
            assert ours(name) <= {m for m in MODULES if m.startswith("bench.kernels")} | {"mnistref.compiled"}, name
            early = imports_of(name, everywhere=False)
            assert name in TRITON or not early & {"triton", "triton.language", *TRITON}, name
            assert "nn.Module" not in MODULES[name].read_text(), name


def test_shards_know_no_torch_and_sources_no_sampling():
    assert not {m.split(".")[0] for m in imports_of("mnistref.shards")} & {"torch", "random"}
    for name in MODULES:
        if name.startswith("mnistref.sources"):
            assert not ours(name) & {"mnistref.scene", "mnistref.render", "mnistref.variants"}, name


def test_training_touches_no_files():
    for room in ("train", "step", "split", "stream", "timing", "evaluate", "model"):
        name = f"bench.{room}"
        assert not imports_of(name) & {"pathlib", "os", "json", "click"}, name


@pytest.mark.parametrize("name", MODULES)
def test_nothing_is_pickled_or_evaluated(name):
    """Weights and records are safetensors and JSON: no shipped line can run what a file holds."""
    assert not {m.split(".")[0] for m in imports_of(name)} & {
        "pickle",
        "cloudpickle",
        "dill",
        "joblib",
        "marshal",
        "shelve",
    }
    tree = tree_of(name)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in ("torch", "torch.serialization"):
            assert not {alias.name for alias in node.names} & {"load", "save"}
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("eval", "exec", "torch.load", "torch.save"), called
            assert not called.endswith(("read_pickle", "to_pickle")), called
            if called in ("np.load", "numpy.load"):
                assert any(k.arg == "allow_pickle" and not k.value.value for k in node.keywords), "np.load may unpickle"


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_is_and_stays_readable(name):
    text = MODULES[name].read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text)) or not text
    assert len(text.splitlines()) <= 300, "split it"
