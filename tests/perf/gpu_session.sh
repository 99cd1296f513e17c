#!/usr/bin/env bash
# Run the tests and measurements that need a GPU, in at most 200 seconds. Call it from the top of the repository:
#
# bash tests/perf/gpu_session.sh OUT [--seconds 200] [--digits FOLDER] [--caches FILE] [--work FOLDER] [--kept FOLDER]
#
# OUT/session.json holds all measurements so far. It is replaced atomically after each one, so the session may be killed
# at any time. OUT also gets session.log, and caches.tar.xz with the compiled kernels; a later session takes this file as
# --caches. No other file is written to OUT. --digits is a folder with the MNIST files. Data and runs go to the folder of
# --work; the default is a new folder in memory, which is removed at the end. Compiled kernels and measurements are also
# stored in the folder of --kept, where bench/scripts/grid.sh finds them; the default is one folder for all calls.
# See tests/perf/gpu_session.py.
set -u
top=$(realpath "$(dirname "$0")/../..")
export PYTHONPATH=$top${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
exec "${PYTHON:-$(command -v python3 || command -v python)}" -m tests.perf.gpu_session "$@"
