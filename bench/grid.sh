#!/usr/bin/env bash
# The papers' grid of mechanisms and variants on a GPU, in slices, from the top of the repository:
#
#   bash bench/grid.sh FOLDER PHOTOS [SECONDS]
#
# Data and runs go to FOLDER (delete its folder over/, and what failed is tried again); PHOTOS: the folder of photographs for the backgrounds. It ends after SECONDS (540) with 3
# where something is left, with 0 where nothing is: give the same command again, and it goes on where it was.
# Then: bench leaderboard --runs FOLDER/runs/mbg (and so on).
set -u
folder=${1:?usage: bash bench/grid.sh FOLDER PHOTOS [SECONDS]} photos=${2:?usage: bash bench/grid.sh FOLDER PHOTOS [SECONDS]}
end=$((SECONDS + ${3:-540}))
PYTHON=${PYTHON:-$(command -v python3 || command -v python)}

# For smaller grids: sizes of the sets, options of the training, seeds, and the mechanisms.
read -ra sizes <<<"${GRID_SIZES:-}"
read -ra training <<<"${GRID_TRAINING:---device cuda --precision bf16}"
seeds=${GRID_SEEDS:-5}
main=${GRID_MAIN:-san,pan,pan-ctx,arnn}
rest=${GRID_REST:-none,han,stn-s,stn-m,arnn-sampled,arnn-ind,unet2,unet3,unet2-arnn,unet3-arnn,cbam,cbam-arnn,brnn2,ltpa-pc}
blocks=${GRID_BLOCKS:-none+arnn,brnn3+arnn,brnn2+arnn,arnn}

timed() { # what is on when the time is over is interrupted, and goes on next time
    local left=$((end - SECONDS)) status
    [ "$left" -gt 0 ] || exit 3
    timeout -s INT -k 30 "$left" "$PYTHON" cli.py "$@"
    status=$?
    case $status in
    0 | 6) ;; # 6: some runs ended badly, and say so on the board
    124 | 130 | 137) exit 3 ;;
    *) exit "$status" ;;
    esac
}

declare -A data
made() { # variant: its data set, made if it is missing
    [ -n "${data[$1]:-}" ] && return
    local said
    said=$(timed mnistref generate --variant "$1" --root "$folder" --backgrounds "$photos" "${sizes[@]}") || exit
    data[$1]=$said
}

trained() { # variant, mechanisms, more options
    local variant=$1 networks=$2 over
    shift 2
    over=$folder/over/$variant-$(cksum <<<"$networks $seeds ${sizes[*]} ${training[*]} $*" | cut -d ' ' -f 1)
    [ -e "$over" ] && return # nothing of it is looked at again
    made "$variant"
    timed bench sweep --data "${data[$variant]}" --attn "$networks" --seeds "$seeds" --runs "$folder/runs/$variant" \
        "${training[@]}" "$@" >/dev/null
    mkdir -p "${over%/*}" && touch "$over"
}

# On photographs and among distractors a network begins with what it learned on black; every one the same way. The
# inverse task has other questions, and 224 px another network: these begin anew, their photographs growing from black.
trained mref "$main"
trained mbg "$main" --init "$folder/runs/mref" --fade 0.5
trained mdist "$main" --init "$folder/runs/mref" --fade 0.5
trained mref "$rest"
trained mbg "$rest" --init "$folder/runs/mref" --fade 0.5
trained mbginv "${GRID_INVERSE:-pan,pan-ctx,arnn}" --fade 0.5
trained mbgb "$blocks" --fade 0.5
