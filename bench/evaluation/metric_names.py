"""The names of what a test and its timing find, as result.json and boards have them, in the boards' order."""

from mnistref.spec import SCALE_BIN_NAMES

SCALES = tuple(f"accuracy_scale_{name}" for name in SCALE_BIN_NAMES)
COUNTS = tuple(f"n_scale_{name}" for name in SCALE_BIN_NAMES)
UNIFORM, PR_AREA = "mask_correctness_uniform", "pr_area"
MASK_CORRECTNESS, TPR, POINTING = "mask_correctness", "tpr", "pointing"
MAPS = (MASK_CORRECTNESS, TPR, POINTING)
"""What the maps score of each question."""
SHOWN_OF_MAPS = (MASK_CORRECTNESS, UNIFORM, TPR, POINTING, PR_AREA)
"""All that a board says of maps, in its order."""
RELATIVE_RUNTIME, STEP = "relative_runtime", "train_step_ms"
COSTS = (RELATIVE_RUNTIME, STEP, "infer_ms_per_image", "peak_memory_mb")
