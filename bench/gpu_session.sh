#!/usr/bin/env bash
# What the diagonal LSTM does on a GPU, in under ten minutes, from the top of the repository: bash bench/gpu_session.sh
# Results go to $OUT, a JSON file a part and a log of all. Each part has a process and a limit of its own; none stops
# the next.
set -u
OUT=${OUT:-gpu_session}
export PYTHONPATH=$PWD PYTHONUNBUFFERED=1
mkdir -p "$OUT"
log=$OUT/log.txt

part() { # name, seconds, command …
    local name=$1 limit=$2 begun=$SECONDS
    shift 2
    echo "== $name: $*" >>"$log"
    timeout -k 5 "$limit" "$@" >>"$log" 2>&1
    echo "== $name: status $?, $((SECONDS - begun)) s" | tee -a "$log"
}

session() { python -m tests.perf.gpu_session "$@"; }
export -f session

part machine 20 nvidia-smi
# Compiling takes most of the time of the first parts, and processors are idle meanwhile: tests beside errors.
part tests 160 python -m pytest -q -p no:cacheprovider --durations=8 -k "gpu" tests/bench/kernels/test_triton.py \
    --junitxml="$OUT/tests.xml" &
part errors 160 bash -c "session errors $OUT/errors.json"
wait
part steps_100 120 bash -c "session steps $OUT/steps_100.json --precisions bf16 tf32 fp32"
part layers 70 bash -c "session layers $OUT/layers.json"
part steps_224 80 bash -c "session steps $OUT/steps_224.json --size 224"
part variants 60 bash -c "session variants $OUT/variants.json"
part capture 40 python -m pytest -q -p no:cacheprovider -k "recorded" tests/bench/test_runtime.py
if command -v compute-sanitizer >/dev/null; then
    part sanitizer 45 compute-sanitizer --tool memcheck python -m pytest -q -p no:cacheprovider \
        -k "neighbours and bf16" tests/bench/kernels/test_triton.py
else
    echo "== sanitizer: not here" | tee -a "$log"
fi
