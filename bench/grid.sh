#!/usr/bin/env bash
# The papers' grid of mechanisms and variants on a GPU, in slices, each of which may be ended at any second:
#
#   bash bench/grid.sh FOLDER PHOTOS [SECONDS] [--out OUT] [--digits FOLDER] [--seeds 5] [--workers 3] …
#
# Data and runs go to FOLDER; PHOTOS is the folder of photographs for the backgrounds, or builtin. It ends after SECONDS
# (540): with 75 where something is left (give the same command again, and it goes on where it was), with 0 where nothing
# is. Another code is that of the command that failed. With --out, records are packed there after every run. Kernels and
# times that bench/gpu_session.sh left on this machine are used; --caches takes its packed kernels.
# Then: bench leaderboard --runs FOLDER/all, with --claims for what it says of the papers' claims. More: --help.
set -u
top=$(realpath "$(dirname "$0")/..")
export PYTHONPATH=$top${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
exec "${PYTHON:-$(command -v python3 || command -v python)}" -m tests.perf.grid "$@"
