#!/usr/bin/env bash
# The papers' grid of mechanisms and variants on a GPU, in slices:
#
#   bash bench/grid.sh FOLDER PHOTOS [SECONDS]
#
# Data and runs go to FOLDER; PHOTOS is the folder of photographs for the backgrounds, or builtin. It ends after SECONDS (540): with 75
# where something is left (give the same command again, and it goes on where it was), with 0 where nothing is. Another
# code is that of the command that failed. Runs that failed are tried again once FOLDER/over is deleted.
# Then: bench leaderboard --runs FOLDER/all, with --claims for what it says of the papers' claims.
set -u
usage() { echo "usage: bash bench/grid.sh FOLDER PHOTOS [SECONDS]" >&2 && exit 2; }
[ $# -ge 2 ] && [[ ${3:-540} =~ ^[0-9]+$ ]] || usage
[ "$2" = builtin ] || [ -d "$2" ] || { echo "$2: no folder of photographs here" >&2 && exit 2; }
folder=$(realpath -m "$1") photos=$2 end=$((SECONDS + 10#${3:-540})) left_over=75
[ "$2" = builtin ] || photos=$(realpath "$2")
cd "$(dirname "$0")/.." || exit 2
PYTHON=${PYTHON:-$(command -v python3 || command -v python)}
trap 'exit 130' INT

# For smaller grids: sizes of the sets, options of the training, seeds, and the mechanisms.
read -ra sizes <<<"${GRID_SIZES:---train 30000 --val 10000 --test 10000}"
read -ra training <<<"${GRID_TRAINING:---device cuda --precision bf16}"
seeds=${GRID_SEEDS:-5}
main=${GRID_MAIN:-san,pan,pan-ctx,arnn}
pan=${GRID_PAN:-han,stn-s,stn-m}
arnn=${GRID_ARNN:-arnn-sampled,arnn-ind,arnn-ind-sampled}
rest=${GRID_REST:-none,unet2,unet3,unet2-arnn,unet3-arnn,cbam,cbam-arnn,brnn2,ltpa-pc}
inverse=${GRID_INVERSE:-none,san,pan,pan-ctx,arnn}
blocks=${GRID_BLOCKS:-none+arnn,brnn3+arnn,brnn2+arnn,arnn}

if [[ " ${training[*]} " == *" cuda"* ]] && [ ! -e "$folder/datasets" ]; then # said before anything is made
    "$PYTHON" -c "import torch; raise SystemExit(not torch.cuda.is_available())" ||
        { echo "no CUDA device here; GRID_TRAINING='--device cpu' trains on the CPU, for weeks" >&2 && exit 2; }
fi

timed() { # what is on when the time is over is interrupted, and goes on next time
    local left=$((end - SECONDS)) status
    [ "$left" -gt 0 ] || exit $left_over
    timeout --foreground -s INT -k 30 "$left" "$PYTHON" cli.py "$@"
    status=$?
    case $status in
    0 | 6) ;; # 6: some runs ended badly, and say so on the board
    *)
        [ "$SECONDS" -ge "$end" ] && exit $left_over
        exit "$status"
        ;;
    esac
}

declare -A data
made() { # variant: its data set, made if it is missing
    [ -n "${data[$1]:-}" ] && return
    local said options=(--variant "$1" --root "$folder" "${sizes[@]}")
    case $1 in mbg*) options+=(--backgrounds "$photos") ;; esac
    said=$(timed mnistref generate "${options[@]}") || exit
    data[$1]=$said
}

trained() { # variant, or variant/folder, mechanisms, more options
    local variant=${1%%/*} runs=$folder/runs/$1 networks=$2 over
    shift 2
    over=$folder/over/${runs##*/}-$(cksum <<<"$networks $seeds $photos ${sizes[*]} ${training[*]} $*" | cut -d ' ' -f 1)
    [ -e "$over" ] && return # nothing of it is looked at again
    made "$variant"
    timed bench sweep --data "${data[$variant]}" --attn "$networks" --seeds "$seeds" --runs "$runs" \
        "${training[@]}" "$@" >/dev/null
    mkdir -p "${over%/*}" && : >"$over" || exit 5
}

# On photographs and among distractors a network begins with what it learned on black, every one the same way; at 224 px
# with what it learned on photographs, but for its last stage and the slot before; on the inverse task with what it
# learned of that on small black images.
# What clutter costs is told by runs that saw as many images of each kind: so there is more of black, too.
after_mref=(--init "$folder/runs/mref" --fade 0.5)
trained mref "$main"
trained mbg "$main" "${after_mref[@]}"
trained mdist "$main" "${after_mref[@]}"
trained mref/more "$main" --init "$folder/runs/mref"
trained mref "$pan,$arnn"
trained mbg "$pan,$arnn" "${after_mref[@]}"
trained mdist "$pan,$arnn" "${after_mref[@]}"
trained mref "$rest"
trained mbg "$rest" "${after_mref[@]}"
trained miniinv "$inverse"
trained mbginv "$inverse" --init "$folder/runs/miniinv" --fade 0.5
trained mref "$blocks"
trained mbg "$blocks" "${after_mref[@]}"
trained mdist "$blocks" "${after_mref[@]}"
trained mbgb "$blocks" --init "$folder/runs/mbg"

mkdir -p "$folder/all"
for run in "$folder"/runs/*/*/ "$folder"/runs/*/*/*/; do # in one place, for boards over all variants
    [ ! -e "$run/config.json" ] || ln -sfn "${run%/}" "$folder/all/"
done
