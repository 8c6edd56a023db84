#!/usr/bin/env bash
# Settle in one go what only a GPU can settle: see README.md beside this file.
#
#   benchmarks/gpu/run.sh correctness|speed|all [PART ...]
#
# PYTHON   the interpreter (python3)              DEVICE  cuda, or cpu for the same in small
# OUT      folder of the results                LIMIT   seconds of correctness, and of speed (280)
# JOBS     processes of correctness at a time (16 on a GPU, which they share; 1 on a CPU)
# Parts of correctness: losses retrieval samplers optimizers no_waits recommend architectures precision
#                       triton_ranks triton
# Parts of speed: loss step recall
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
mode=${1:-all}
[ $# -gt 0 ] && shift
case $mode in
correctness | speed | all) ;;
*)
    echo "usage: run.sh correctness|speed|all [PART ...], got $mode" >&2
    exit 2
    ;;
esac
wanted=" $* "
python=${PYTHON:-python3}
device=${DEVICE:-cuda}
# results of a GPU are kept with the benchmark, those of a dry run are not
default=$here/results
[ "$device" = cpu ] && default=$root/build/gpu
out=${OUT:-$default}
# the limits are a GPU's; the CPU may be busy with other things
slower=1
[ "$device" = cpu ] && slower=5
limit=$((${LIMIT:-280} * slower))
jobs=${JOBS:-16}
[ "$device" = cpu ] && jobs=${JOBS:-1}
[ "$jobs" -gt 1 ] && export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
log=$out/log.txt

mkdir -p "$out"
cd "$root" || exit 2
rm -f "$out"/{parts,correctness,speed}.jsonl "$out"/{environment,summary}.json "$out/summary.md" "$log"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export PYTHONPATH="$root:$root/serving:$scratch/site${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 CROLOSS_TEST_DEVICE=$device
# as the command line sets it: recurrent layers round alike in each run
export CUBLAS_WORKSPACE_CONFIG=${CUBLAS_WORKSPACE_CONFIG:-:4096:8}

# wheels of what the machine lacks, if there are any
if compgen -G "$here/wheels/*.whl" >/dev/null; then
    "$python" -m pip install --quiet --no-index --no-deps --find-links "$here/wheels" \
        --target "$scratch/site" "$here"/wheels/*.whl >>"$log" 2>&1 || echo "the wheels cannot be installed, see $log"
fi

deadline=$((SECONDS + limit))

# part NAME SECONDS COMMAND ...: run it within its limit and the time left, and note how it ended
part() {
    local name=$1 seconds=$2 begin=$SECONDS status=-1
    local own=$scratch/${name//[^a-z_0-9]/-}.log
    shift 2
    local left=$((deadline - SECONDS))
    ((left < seconds)) && seconds=$left
    if ((seconds >= 5)); then
        echo "== $name, at most $seconds s" | tee "$own"
        timeout --kill-after=5 "$seconds" "$@" >>"$own" 2>&1
        status=$?
        cat "$own" >>"$log" # as a whole, whatever runs beside it
    fi
    echo "   $name: exit status $status after $((SECONDS - begin)) s"
    printf '{"part": "%s", "status": %d, "seconds": %d, "limit": %d}\n' \
        "$name" "$status" $((SECONDS - begin)) "$seconds" >>"$out/parts.jsonl"
    return "$((status < 0 ? 1 : status))"
}

asked() { [ "$wanted" = "  " ] || [[ $wanted == *" $1 "* ]]; }

# tests NAME SECONDS [SHARES]: one file of tests, beside others and in as many shares as there are jobs for
tests() {
    asked "$1" || return
    local shares=${3:-1} share
    [ "$jobs" -eq 1 ] && shares=1
    for ((share = 1; share <= shares; share++)); do
        while [ "$(jobs -pr | wc -l)" -ge "$jobs" ]; do wait -n; done
        tests_of_share "$1" "$2" "$share/$shares" &
    done
}

# a share of one file of tests; after a hang or a lost device again, for the tests behind it
tests_of_share() {
    local name=$1 until=$((SECONDS + $2 * slower)) share=$3 attempt extra=()
    local done=$scratch/$name-${share/\//-}.done
    "$python" -c 'import pytest_timeout' 2>/dev/null && extra=(--timeout 80 -o timeout_method=thread)
    for attempt in 1 2 3 4; do
        ((until - SECONDS >= 5)) || break
        local title=$name
        [ "$share" != 1/1 ] && title+=" $share"
        [ "$attempt" -gt 1 ] && title+=", attempt $attempt"
        CROLOSS_TEST_RECORD=$out/correctness.jsonl CROLOSS_TEST_DONE=$done CROLOSS_TEST_SHARE=$share \
            part "$title" $((until - SECONDS)) "$python" -m pytest -m gpu -p tests.gpu.record \
            -p no:cacheprovider --tb=short "${extra[@]}" "tests/gpu/test_$name.py"
        [ -e "$done" ] && break
    done
}

part environment $((60 * slower)) "$python" -m benchmarks.gpu environment --device "$device" --out "$out"
if [ "$mode" != speed ]; then
    deadline=$((SECONDS + limit))
    # what takes longest comes first
    tests triton 250 4
    tests architectures 200 3
    tests losses 200 2
    tests precision 200
    tests retrieval 120
    tests triton_ranks 120
    tests no_waits 120
    tests optimizers 100
    tests recommend 100
    tests samplers 100
    wait
fi
if [ "$mode" != correctness ]; then
    deadline=$((SECONDS + limit))
    for section in loss:110 recall:50 step:90; do
        asked "${section%:*}" && part "${section%:*}" $((${section#*:} * slower)) "$python" -m benchmarks.gpu \
            "${section%:*}" --device "$device" --out "$out"
    done
fi
timeout --kill-after=5 $((60 * slower)) "$python" -m benchmarks.gpu summary --device "$device" --out "$out" 2>>"$log"
