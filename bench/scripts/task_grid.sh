#!/usr/bin/env bash
# Train the papers' tables on natural images on a GPU, in slices. A slice may be killed at any time:
#
#   bash bench/scripts/task_grid.sh FOLDER cifar100,cifar10 [SECONDS] [--fast] [--out OUT] [--seeds 3] [--workers 3] …
#
# Data and runs go to FOLDER. The command ends after SECONDS (540). Exit code 75: runs are left, and the same command
# resumes. Exit code 0: all runs are done. Any other exit code is that of the command that failed. With --out, the
# records of finished runs are packed into OUT after every run.
# Then: bench leaderboard --runs FOLDER/all; with --claims it also checks the papers' claims. All options: --help.
source "$(dirname "$0")/common.sh"
exec "$python" -m tests.perf.task_grid "$@"
