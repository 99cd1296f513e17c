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
    "mnistref.common.child_process",
    "mnistref.common.numba_jit",
    "mnistref.common.console",
    "mnistref.common.process_exit",
    "mnistref.common.errors",
    "mnistref.common.figure_files",
    "mnistref.common.atomic_files",
    "mnistref.common.interrupts",
    "mnistref.common.numba_cache",
    "mnistref.common.click_program",
    "mnistref.spec",
    "mnistref.common.text_table",
    "mnistref.common.version",
}
DOORS = {
    "mnistref.dataset",
    "mnistref.generation.executors",
    "mnistref.generation.online",
    "mnistref.generation.generate",
    "mnistref.variants",
}
"""What `bench` may see of `mnistref`, beside the foundations."""

MAY_IMPORT = {
    "mnistref.common.numba_jit": {"mnistref.common.numba_cache"},
    "mnistref.common.numba_cache": set(),
    "mnistref.rendering.rng": {"mnistref.common.numba_jit"},
    "mnistref.rendering.resize": {"mnistref.common.numba_jit"},
    "mnistref.variants": {"mnistref.common.errors", "mnistref.spec"},
    "mnistref.storage.schema": {"mnistref.common.errors", "mnistref.spec"},
    "mnistref.queries": {"mnistref.spec"},
    "mnistref.rendering.scene": {
        "mnistref.common.numba_jit",
        "mnistref.rendering.resize",
        "mnistref.rendering.rng",
        "mnistref.spec",
    },
    "mnistref.storage.shards": {"mnistref.common.errors", "mnistref.common.atomic_files", "mnistref.storage.schema"},
    "bench.config": {"mnistref.common.errors", "mnistref.spec"},
    "bench.metrics": {"bench.evaluation.metric_inputs", "bench.evaluation.unchecked_metrics"},
    "bench.evaluation.metric_inputs": {
        "bench.evaluation.output_checks",
        "bench.evaluation.plain_tensors",
        "mnistref.spec",
    },
    "bench.evaluation.plain_tensors": set(),
    "bench.evaluation.output_checks": set(),
    "bench.evaluation.unchecked_metrics": {"mnistref.spec"},
    "bench.leaderboard.statistics": set(),
    "bench.runs.shell_command": {"bench.config"},
    "bench.evaluation.metric_names": {"mnistref.spec"},
    "bench.runs.validation": {"bench.evaluation.metric_names", "mnistref.variants"},
    "bench.leaderboard.aggregate": {
        *(
            "bench.config",
            "bench.evaluation.metric_names",
            "bench.leaderboard.published",
            "bench.runs.shell_command",
            "bench.runs.validation",
            "bench.leaderboard.statistics",
        )
    },
    "bench.common.number_format": set(),
    "bench.leaderboard.claims": {
        "bench.config",
        "bench.leaderboard.aggregate",
        "bench.evaluation.metric_names",
        "bench.leaderboard.published",
        "bench.leaderboard.statistics",
    },
    "bench.leaderboard.formatting": {
        *(
            "bench.leaderboard.claims",
            "bench.config",
            "bench.leaderboard.aggregate",
            "bench.evaluation.metric_names",
            "bench.common.number_format",
            "bench.leaderboard.statistics",
        ),
        *("mnistref.common.text_table", "mnistref.variants"),
    },
    "bench.leaderboard.snapshot": {
        *(
            "bench.leaderboard.formatting",
            "bench.config",
            "bench.common.json_files",
            "bench.leaderboard.aggregate",
            "bench.runs.records",
        ),
        *("mnistref.common.errors", "mnistref.common.atomic_files"),
    },
    "bench.compute": {"bench.kernels.diagonal_lstm", "mnistref.common.errors"},
    "bench.report": set(),
    "bench.cli.report": {
        *(
            "bench.cli.options",
            "bench.report.page",
            "mnistref.common.console",
            "mnistref.common.atomic_files",
            "mnistref.common.click_program",
        ),
    },
    "bench.report.page": {
        *(f"bench.report.{name}" for name in ("curves", "entries", "figures", "markdown")),
        *(f"bench.report.{name}" for name in ("pictures", "reading", "table")),
        *(
            "bench.leaderboard.formatting",
            "bench.config",
            "bench.leaderboard.aggregate",
            "bench.runs.records",
            "bench.leaderboard.statistics",
        ),
        *("mnistref.common.errors", "mnistref.common.version"),
    },
    "bench.report.groups": {"bench.config", "bench.leaderboard.aggregate", "bench.runs.validation"},
    "bench.report.table": {"bench.common.number_format", "bench.report.groups"},
    "bench.report.svg_layout": set(),
    "bench.report.accuracy_charts": {
        *(f"bench.report.{name}" for name in ("charts", "entries", "rates", "table")),
        *("bench.evaluation.metric_names", "bench.common.number_format", "mnistref.spec"),
    },
    "bench.report.intervals": {
        "bench.common.number_format",
        "bench.leaderboard.published",
        "bench.report.groups",
        "bench.leaderboard.statistics",
    },
    "bench.report.curve_charts": {
        *(f"bench.report.{name}" for name in ("charts", "entries", "figures", "table")),
        "bench.common.number_format",
    },
    "bench.report.markdown": set(),
    "bench.report.load": {"bench.common.json_files", "bench.runs.records"},
    "bench.report.galleries": {
        "bench.common.json_files",
        "bench.evaluation.snapshots",
        "bench.report.groups",
        "mnistref.common.errors",
    },
    "bench.training.step": {"bench.compute", "bench.config"},
    "bench.distributed.global_batch": set(),
    "bench.distributed.process_group": {
        "bench.compute",
        "bench.config",
        "bench.training.step",
        "bench.distributed.global_batch",
        "mnistref.common.errors",
    },
    "bench.training.trainer": {
        *(
            "bench.config",
            "bench.compute",
            "bench.evaluation.evaluate",
            "bench.data.grouping",
            "bench.distributed.process_group",
            "bench.data.split",
        ),
        *("bench.training.step", "bench.distributed.global_batch"),
    },
    "bench.data.grouping": {"bench.data.split", "bench.distributed.global_batch"},
    "bench.profiling.timing": {
        "bench.compute",
        "bench.config",
        "bench.common.memory",
        "bench.training.step",
        "mnistref.spec",
    },
    "bench.profiling.benchmark": {
        "bench.conformance.isolation",
        "bench.attention",
        "bench.config",
        "bench.compute",
        "bench.kernels.diagonal_lstm",
        "bench.model",
        "bench.profiling.oom",
        "bench.profiling.timing",
        "mnistref.common.errors",
        "mnistref.spec",
        "mnistref.common.text_table",
    },
    "bench.profiling.plot": {"mnistref.common.errors", "mnistref.common.figure_files"},
    "bench.evaluation.snapshots": {
        *(
            "bench.evaluation.evaluate",
            "bench.model",
            "bench.evaluation.output_checks",
            "bench.visualization.panels",
            "bench.data.split",
        ),
        "bench.evaluation.unchecked_metrics",
        *("mnistref.common.atomic_files", "mnistref.spec"),
    },
    "bench.runs.records": {
        *(
            "bench.compute",
            "bench.config",
            "bench.runs.environment",
            "bench.common.json_files",
            "bench.runs.validation",
        ),
        "bench.common.safetensors_io",
        *("mnistref.dataset", "mnistref.common.errors", "mnistref.common.atomic_files", "mnistref.common.version"),
    },
    "bench.common.json_files": {"mnistref.common.errors", "mnistref.common.atomic_files"},
    "bench.runs.environment": {"bench.compute", "mnistref.common.version"},
    "bench.runs.sweep": {
        "bench.attention",
        "bench.compute",
        "bench.config",
        "bench.runs.experiment",
        "bench.attention.plugins",
        "bench.runs.records",
        "bench.training.progress",
        "bench.runs.subprocess_worker",
        "mnistref.common.errors",
        "mnistref.generation.executors",
    },
    "bench.runs.subprocess_worker": {
        *(
            "bench.config",
            "bench.runs.experiment",
            "bench.attention.plugins",
            "bench.runs.records",
            "bench.training.progress",
        ),
        *("mnistref.common.child_process", "mnistref.common.errors"),
    },
    "bench.cli.options": {
        *("bench.attention", "bench.compute", "bench.config", "bench.cli.values", "bench.training.progress"),
        *("mnistref.common.click_program", "mnistref.variants"),
    },
    "bench.cli.values": {"mnistref.spec"},
    "bench.training.progress": {"bench.config", "mnistref.common.errors"},
    "bench.runs.reproduce": {
        *("bench.config", "bench.runs.records", "bench.runs.load"),
        *("mnistref.dataset", "mnistref.common.errors", "mnistref.common.atomic_files", "mnistref.generation.generate"),
    },
    "bench.profiling.run_cost": {
        *(
            "bench.compute",
            "bench.config",
            "bench.model",
            "bench.profiling.timing",
            "mnistref.common.errors",
            "mnistref.spec",
        )
    },
    "bench.profiling.oom": {
        *(
            "bench.compute",
            "bench.config",
            "bench.common.memory",
            "bench.model",
            "bench.profiling.timing",
            "mnistref.spec",
        )
    },
    "bench.runs.experiment": {
        "bench.attention",
        "bench.training.checkpoints",
        "bench.config",
        "bench.data.loading",
        "bench.evaluation.evaluate",
        "bench.common.memory",
        "bench.model",
        "bench.data.online",
        "bench.compute",
        "bench.profiling.run_cost",
        "bench.profiling.oom",
        "bench.distributed.process_group",
        "bench.evaluation.snapshots",
        "bench.attention.plugins",
        "bench.runs.records",
        "bench.runs.load",
        "bench.data.split",
        "bench.training.trainer",
        "bench.training.progress",
        "mnistref.dataset",
        "mnistref.common.errors",
        "mnistref.common.atomic_files",
        "mnistref.generation.generate",
        "mnistref.spec",
        "mnistref.variants",
        "mnistref.common.version",
    },
    "bench.runs.load": {
        "bench.training.checkpoints",
        "bench.config",
        "bench.model",
        "bench.attention.plugins",
        "bench.runs.records",
        "mnistref.common.errors",
        "mnistref.variants",
    },
    "bench.visualization.examples": {
        *("bench.config", "bench.model", "bench.visualization.panels", "bench.evaluation.snapshots"),
        *("mnistref.dataset", "mnistref.common.errors", "mnistref.variants"),
    },
    "bench.visualization.comparison": {
        *(
            "bench.visualization.examples",
            "bench.config",
            "bench.visualization.drawing",
            "bench.visualization.panels",
            "bench.runs.load",
        ),
        *("mnistref.common.errors", "mnistref.common.figure_files"),
    },
    "bench.visualization.attention_maps": {
        *(
            "bench.visualization.examples",
            "bench.attention",
            "bench.attention.arnn",
            "bench.config",
            "bench.visualization.drawing",
            "bench.model",
        ),
        *("bench.visualization.panels", "bench.runs.load"),
        *("mnistref.dataset", "mnistref.common.errors", "mnistref.common.figure_files", "mnistref.variants"),
    },
    "bench.visualization.panels": {
        "bench.evaluation.output_checks",
        "bench.model",
        "bench.evaluation.unchecked_metrics",
        "mnistref.spec",
    },
    "bench.visualization.drawing": {
        "bench.visualization.panels",
        "mnistref.common.errors",
        "mnistref.common.figure_files",
    },
    "bench.model": {
        "bench.attention",
        "bench.attention.base",
        "bench.attention.warps",
        "bench.config",
        "bench.kernels.pool",
        "mnistref.spec",
        "mnistref.variants",
    },
    "bench.attention.mechanism": {"mnistref.common.errors", "mnistref.common.atomic_files"},
    "bench.attention": {
        "bench.attention.arnn",
        "bench.attention.pan",
        "bench.attention.mechanism",
        "bench.attention.plugins",
        "mnistref.common.errors",
    },
    "bench.attention.plugins": {
        "bench.attention.base",
        "bench.attention.mechanism",
        "mnistref.common.errors",
        "mnistref.common.atomic_files",
    },
    "bench.conformance.isolation": {
        *("bench.attention", "bench.conformance.checks", "bench.config", "bench.model", "bench.attention.plugins"),
        *("mnistref.common.child_process", "mnistref.common.errors", "mnistref.common.atomic_files", "mnistref.spec"),
    },
    "bench.conformance.checks": {
        "bench.attention",
        "bench.attention.base",
        "bench.config",
        "bench.attention.mechanism",
        "bench.model",
        "bench.conformance.probe",
        "bench.conformance.questions",
        "bench.conformance.rehearsal",
        "mnistref.common.errors",
        "mnistref.spec",
    },
    "bench.conformance.questions": {
        "bench.attention.base",
        "bench.config",
        "bench.attention.mechanism",
        "bench.model",
        "bench.attention.plugins",
        "bench.conformance.probe",
        "bench.conformance.rehearsal",
        "mnistref.spec",
    },
    "bench.conformance.rehearsal": {
        "bench.compute",
        "bench.config",
        "bench.evaluation.evaluate",
        "bench.model",
        "bench.evaluation.snapshots",
        "bench.conformance.probe",
        "bench.data.split",
        "bench.training.step",
        "bench.common.safetensors_io",
        "bench.training.trainer",
        "mnistref.common.errors",
        "mnistref.spec",
        "mnistref.variants",
    },
    "bench.conformance.probe": {
        "bench.attention.base",
        "bench.config",
        "bench.attention.mechanism",
        "bench.model",
        "mnistref.variants",
    },
    "bench.attention.base": {"bench.kernels.gate", "bench.kernels.transforms"},
    "bench.attention.warps": set(),
    "bench.kernels.buffer_pool": set(),
    "bench.kernels.thread_pool": set(),
    "bench.kernels.numba_simd": set(),
    "bench.kernels.transforms": set(),
    "bench.kernels.self_test": set(),
    "bench.kernels.pool": {
        *(
            "bench.kernels.pool.numba_op",
            "bench.kernels.transforms",
            "bench.kernels.self_test",
            "mnistref.common.numba_jit",
        ),
    },
    "bench.kernels.pool.numba_op": {"bench.kernels.pool.numba_passes", "bench.kernels.thread_pool"},
    "bench.kernels.pool.numba_passes": {"mnistref.common.numba_jit"},
    "bench.kernels.gate": {
        *(
            "bench.kernels.gate.numba_op",
            "bench.kernels.gate.score",
            "bench.kernels.transforms",
            "bench.kernels.self_test",
        ),
    },
    "bench.kernels.gate.work_division": {"bench.kernels.thread_pool"},
    "bench.kernels.gate.numba_passes": {"bench.kernels.numba_simd", "mnistref.common.numba_jit"},
    "bench.kernels.gate.numba_score_passes": {"bench.kernels.gate.numba_passes", "bench.kernels.numba_simd"},
    "bench.kernels.gate.numba_op": {"bench.kernels.gate.numba_passes", "bench.kernels.gate.work_division"},
    "bench.kernels.gate.score": {"bench.kernels.gate.numba_score_passes", "bench.kernels.gate.work_division"},
    "bench.kernels.diagonal_lstm": {
        *(f"bench.kernels.diagonal_lstm.{name}" for name in ("cpu", "gpu", "packed", "reference")),
        "bench.kernels.transforms",
    },
    "bench.kernels.diagonal_lstm.reference": set(),
    "bench.kernels.diagonal_lstm.first_order": set(),
    "bench.kernels.diagonal_lstm.torch_packed": {
        "bench.kernels.buffer_pool",
        "bench.kernels.diagonal_lstm.first_order",
    },
    "bench.kernels.diagonal_lstm.triton_dot": set(),
    "bench.kernels.diagonal_lstm.triton_weights": {"bench.kernels.diagonal_lstm.triton_dot"},
    "bench.kernels.diagonal_lstm.triton_kernels": {"bench.kernels.diagonal_lstm.triton_dot"},
    "bench.kernels.diagonal_lstm.triton_op": {
        *(f"bench.kernels.diagonal_lstm.{name}" for name in ("once", "triton_weights", "wavefront"))
    },
    "bench.kernels.diagonal_lstm.numba_gemm": {"bench.kernels.numba_simd", "mnistref.common.numba_jit"},
    "bench.kernels.diagonal_lstm.numba_forward": {"bench.kernels.diagonal_lstm.numba_gemm", "bench.kernels.numba_simd"},
    "bench.kernels.diagonal_lstm.numba_backward": {
        "bench.kernels.diagonal_lstm.numba_gemm",
        "bench.kernels.numba_simd",
    },
    "bench.kernels.diagonal_lstm.numba_op": {
        "bench.kernels.buffer_pool",
        "bench.kernels.diagonal_lstm.first_order",
        "bench.kernels.diagonal_lstm.numba_gemm",
        "bench.kernels.diagonal_lstm.numba_forward",
        "bench.kernels.diagonal_lstm.numba_backward",
        "bench.kernels.thread_pool",
    },
    "bench.data.prefetch": set(),
    "bench.common.memory": set(),
    "bench.data.split": set(),
    "bench.data.streaming": {"bench.data.prefetch", "bench.data.split"},
    "bench.data.loading": {"bench.common.memory", "bench.data.split", "bench.data.streaming", "mnistref.dataset"},
    "bench.data.online": {
        "bench.data.prefetch",
        "bench.config",
        "bench.data.loading",
        "bench.common.memory",
        "bench.data.split",
        "mnistref.dataset",
        "mnistref.common.errors",
        "mnistref.generation.executors",
        "mnistref.generation.online",
    },
    "bench.evaluation.evaluate": {
        *(
            "bench.evaluation.metric_names",
            "bench.model",
            "bench.evaluation.output_checks",
            "bench.distributed.process_group",
            "bench.data.split",
        ),
        "bench.evaluation.unchecked_metrics",
    },
    "bench.training.checkpoints": {
        "bench.common.safetensors_io",
        "bench.training.trainer",
        "mnistref.common.errors",
        "mnistref.common.atomic_files",
    },
    "mnistref.rendering.render": {
        "mnistref.common.numba_jit",
        "mnistref.rendering.resize",
        "mnistref.rendering.rng",
        "mnistref.rendering.scene",
        "mnistref.spec",
    },
    "mnistref.dataset": {
        "mnistref.common.errors",
        "mnistref.storage.manifest",
        "mnistref.queries",
        "mnistref.storage.schema",
        "mnistref.storage.open_shards",
        "mnistref.storage.shards",
    },
    "mnistref.storage.open_shards": {"mnistref.storage.shards"},
    "mnistref.generation.executors": {
        "mnistref.common.child_process",
        "mnistref.common.numba_jit",
        "mnistref.common.errors",
    },
    "mnistref.generation.online": {
        "mnistref.common.numba_jit",
        "mnistref.common.errors",
        "mnistref.storage.manifest",
        "mnistref.queries",
        "mnistref.storage.schema",
        "mnistref.storage.shards",
        "mnistref.sources",
        "mnistref.sources.bank",
        "mnistref.sources.digits",
        "mnistref.sources.photos",
        "mnistref.spec",
        "mnistref.generation.shard_worker",
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
    "mnistref.rendering.rng",
    "mnistref.rendering.resize",
    "mnistref.rendering.scene",
    "mnistref.rendering.render",
    "mnistref.rendering.reference",
    "mnistref.storage.schema",
    "mnistref.storage.manifest_schema",
    "mnistref.queries",
    "mnistref.metadata.card",
    "mnistref.metadata.credits",
    "mnistref.metadata.croissant",
    "bench.config",
    "bench.metrics",
    "bench.evaluation.metric_inputs",
    "bench.evaluation.output_checks",
    "bench.evaluation.plain_tensors",
    "bench.evaluation.unchecked_metrics",
    "bench.leaderboard.claims",
    "bench.leaderboard.aggregate",
    "bench.evaluation.metric_names",
    "bench.common.number_format",
    "bench.visualization.panels",
    "bench.runs.shell_command",
    "bench.runs.validation",
    "bench.leaderboard.statistics",
    "bench.report.svg_layout",
    "bench.report.curve_charts",
    "bench.report.groups",
    "bench.report.accuracy_charts",
    "bench.report.markdown",
    "bench.report.intervals",
    "bench.report.table",
    "bench.common.safetensors_io",
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
    commands = {"mnistref.cli", "bench.cli.main"}
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
            assert ours(name) <= {m for m in MODULES if m.startswith("bench.kernels")} | {
                "mnistref.common.numba_jit"
            }, name
            early = imports_of(name, everywhere=False)
            assert name in TRITON or not early & {"triton", "triton.language", *TRITON}, name
            assert "nn.Module" not in MODULES[name].read_text(), name


def test_shards_know_no_torch_and_sources_no_sampling():
    assert not {m.split(".")[0] for m in imports_of("mnistref.storage.shards")} & {"torch", "random"}
    for name in MODULES:
        if name.startswith("mnistref.sources"):
            assert not ours(name) & {"mnistref.rendering.scene", "mnistref.rendering.render", "mnistref.variants"}, name


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
