#!/usr/bin/env bash
# Test and time what needs a GPU, in at most 200 seconds, from the top of the repository:
#
#   bash bench/gpu_session.sh OUT [--seconds 200] [--digits FOLDER] [--caches FILE] [--work FOLDER] [--kept FOLDER]
#
# OUT/session.json holds all measurements so far, whole at any moment: the session may be ended at any second. Beside it
# lie session.log, and caches.tar.xz with the compiled kernels, which a later session takes as --caches. FOLDER of
# --digits holds MNIST's files. Data and runs go to the folder of --work, by default a new one in memory that is removed
# at the end. Kernels and measurements are in that of --kept, too, where bench/grid.sh finds them; by default it is one
# for all calls. Nothing but the three files is written to OUT. See tests/perf/gpu_session.py.
set -u
top=$(realpath "$(dirname "$0")/..")
export PYTHONPATH=$top${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
exec "${PYTHON:-$(command -v python3 || command -v python)}" -m tests.perf.gpu_session "$@"
