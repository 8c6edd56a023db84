#!/usr/bin/env bash
# Settle in one go what only a GPU can settle: see README.md beside this file.
#
#   benchmarks/gpu/run.sh correctness|speed|all [PART ...]
#
# PYTHON   the interpreter (python3)              DEVICE  cuda, or cpu for the same in small
# OUT      folder of the results                LIMIT   seconds of correctness, and of speed (280)
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
log=$out/log.txt

mkdir -p "$out"
cd "$root" || exit 2
rm -f "$out"/{parts,correctness,speed}.jsonl "$out"/{environment,summary}.json "$out/summary.md" "$log"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export PYTHONPATH="$root:$root/serving:$scratch/site${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 CROLOSS_TEST_DEVICE=$device

# wheels of what the machine lacks, if there are any
if compgen -G "$here/wheels/*.whl" >/dev/null; then
    "$python" -m pip install --quiet --no-index --no-deps --find-links "$here/wheels" \
        --target "$scratch/site" "$here"/wheels/*.whl >>"$log" 2>&1 || echo "the wheels cannot be installed, see $log"
fi

deadline=$((SECONDS + limit))

# part NAME SECONDS COMMAND ...: run it within its limit and the time left, and note how it ended
part() {
    local name=$1 seconds=$2 begin=$SECONDS status=-1
    shift 2
    local left=$((deadline - SECONDS))
    ((left < seconds)) && seconds=$left
    if ((seconds >= 5)); then
        echo "== $name, at most $seconds s" | tee -a "$log"
        timeout --kill-after=5 "$seconds" "$@" >>"$log" 2>&1
        status=$?
    fi
    echo "   exit status $status after $((SECONDS - begin)) s"
    printf '{"part": "%s", "status": %d, "seconds": %d, "limit": %d}\n' \
        "$name" "$status" $((SECONDS - begin)) "$seconds" >>"$out/parts.jsonl"
    return "$((status < 0 ? 1 : status))"
}

asked() { [ "$wanted" = "  " ] || [[ $wanted == *" $1 "* ]]; }

# one file of tests; after a hang or a lost device again, for the tests behind it
tests() {
    local name=$1 until=$((SECONDS + $2 * slower)) attempt extra=()
    asked "$name" || return
    "$python" -c 'import pytest_timeout' 2>/dev/null && extra=(--timeout 40 -o timeout_method=thread)
    export CROLOSS_TEST_RECORD=$out/correctness.jsonl
    rm -f "$out/correctness.done"
    for attempt in 1 2 3 4; do
        ((until - SECONDS >= 5)) || break
        part "$name$([ "$attempt" -gt 1 ] && echo ", attempt $attempt")" $((until - SECONDS)) "$python" -m pytest \
            -m gpu -p tests.gpu.record -p no:cacheprovider --tb=short "${extra[@]}" "tests/gpu/test_$name.py"
        [ -e "$out/correctness.done" ] && break
    done
    rm -f "$out/correctness.done"
}

part environment $((60 * slower)) "$python" -m benchmarks.gpu environment --device "$device" --out "$out"
if [ "$mode" != speed ]; then
    deadline=$((SECONDS + limit))
    # what everything else rests on comes first, what compiles last
    tests losses 80
    tests retrieval 40
    tests samplers 20
    tests optimizers 30
    tests no_waits 30
    tests recommend 25
    tests architectures 80
    tests precision 100
    tests triton_ranks 60
    tests triton 150
fi
if [ "$mode" != correctness ]; then
    deadline=$((SECONDS + limit))
    for section in loss:110 recall:50 step:90; do
        asked "${section%:*}" && part "${section%:*}" $((${section#*:} * slower)) "$python" -m benchmarks.gpu \
            "${section%:*}" --device "$device" --out "$out"
    done
fi
timeout --kill-after=5 $((60 * slower)) "$python" -m benchmarks.gpu summary --device "$device" --out "$out" 2>>"$log"
