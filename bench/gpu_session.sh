#!/usr/bin/env bash
# What the diagonal LSTM does on a GPU, in less than ten minutes, from the top of the repository: bash bench/gpu_session.sh
# Results go to $OUT, a JSON file a part and a log of all. Each part has a process and a limit of its own; none stops
# the next.
set -u
OUT=${OUT:-gpu_session}
PYTHON=${PYTHON:-$(command -v python3 || command -v python)}
export PYTHON PYTHONPATH=$PWD PYTHONUNBUFFERED=1
mkdir -p "$OUT"
log=$OUT/log.txt

part() { # name, seconds, command …
    local name=$1 limit=$2 begun=$SECONDS
    shift 2
    echo "== $name: $*" >>"$log"
    timeout -k 5 "$limit" "$@" >>"$log" 2>&1
    echo "== $name: status $?, $((SECONDS - begun)) s" | tee -a "$log"
}

session() { "$PYTHON" -m tests.perf.gpu_session "$@"; }
export -f session

part machine 20 nvidia-smi
# Compiling takes most of the time of the first parts, and processors are idle meanwhile: tests beside errors.
part tests 140 "$PYTHON" -m pytest -q -p no:cacheprovider --durations=8 -k "gpu" tests/bench/kernels/test_triton.py \
    --junitxml="$OUT/tests.xml" &
part errors 140 bash -c "session errors $OUT/errors.json"
wait
part steps_100 120 bash -c "session steps $OUT/steps_100.json --precisions bf16 tf32 fp32"
part layers 75 bash -c "session layers $OUT/layers.json"
part capture 40 "$PYTHON" -m pytest -q -p no:cacheprovider -k "recorded" tests/bench/profiling/test_benchmark.py
if command -v compute-sanitizer >/dev/null; then
    # Without PyTorch's cache, so that each tensor has bounds of its own. It refuses some virtual machines.
    export PYTORCH_NO_CUDA_MEMORY_CACHING=1
    part sanitizer 75 compute-sanitizer --tool memcheck --error-exitcode 9 "$PYTHON" -m pytest -q -p no:cacheprovider \
        -k "same_bits and bf16 and 6-6 and not bf16x6" tests/bench/kernels/test_triton.py
    unset PYTORCH_NO_CUDA_MEMORY_CACHING
else
    echo "== sanitizer: not here" | tee -a "$log"
fi
part steps_224 60 bash -c "session steps $OUT/steps_224.json --size 224"
part variants 40 bash -c "session variants $OUT/variants.json"
"$PYTHON" - "$OUT" <<'JSON'
import json, pathlib, sys

out = pathlib.Path(sys.argv[1])
parts = {path.stem: json.loads(path.read_text()) for path in sorted(out.glob("*.json")) if path.stem != "summary"}
statuses = [line[3:].strip() for line in (out / "log.txt").read_text().splitlines() if line.startswith("== ") and "status" in line]
(out / "summary.json").write_text(json.dumps({"statuses": statuses, **parts}, indent=1))
JSON
