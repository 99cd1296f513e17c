#!/usr/bin/env bash
# Train the papers' grid of mechanisms and variants, on a GPU or on the CPU, in slices. A slice may be killed at any time:
#
#   bash bench/scripts/grid.sh FOLDER PHOTOS [SECONDS] [--out OUT] [--digits FOLDER] [--seeds 5] [--workers 3] …
#   nice bash bench/scripts/grid.sh FOLDER PHOTOS 36000 --device cpu          # hours, beside other work
#   bash bench/scripts/grid.sh FOLDER PHOTOS --device cpu --forecast          # the runs that are left, and their hours
#
# Data and runs go to FOLDER. PHOTOS is the folder of photographs for the backgrounds, or builtin. The command ends after
# SECONDS (540). The most valuable runs come first. Exit code 75: runs are left, and the same command resumes. Exit code
# 0: all runs are done. Any other exit code is that of the command that failed. With --out, the records of finished runs
# are packed into OUT after every run. Compiled kernels and times that tests/perf/gpu_session.sh stored on this machine
# are used; --caches unpacks its caches.tar.xz.
# Then: bench leaderboard --runs FOLDER/all; with --claims it also checks the papers' claims. All options: --help.
source "$(dirname "$0")/common.sh"
exec "$python" -m tests.perf.grid "$@"
