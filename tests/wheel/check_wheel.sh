#!/usr/bin/env bash
# Check a built wheel far away from the source: tests/wheel/check_wheel.sh WHEEL [PYTHON] [CONSTRAINTS]
#
# Installs the wheel with its core dependencies alone into a temporary environment, then with [tables], and uses it
# there. Stops at the first command that fails; each one is printed before it runs.
set -euo pipefail

if [[ $# -lt 1 || $# -gt 3 ]]; then
    echo "usage: $0 WHEEL [PYTHON] [CONSTRAINTS]" >&2
    exit 2
fi
wheel=$(realpath -e "$1")
python=${2:-python3}
source=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")
constraints=$(realpath -e "${3:-$source/constraints.txt}")
readme=$source/README.md

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
cd "$work" # so that nothing is imported from the source
unset PYTHONPATH
bin=$work/venv/bin

run() {
    printf '+ %s\n' "${*//$work\//}"
    "$@"
}

install() {
    run "$bin/pip" install --quiet --disable-pip-version-check -c "$constraints" "$@"
}

# torch first, alone and pinned, as in the Makefile
install torch
install "$wheel"
echo "$("$bin/python" --version), wheel $(basename "$wheel")"

run "$bin/python" -c 'import lightning_croloss; print(lightning_croloss.__version__, lightning_croloss.__file__)'
location=$("$bin/python" -c 'import lightning_croloss; print(lightning_croloss.__file__)')
if [[ $location != "$work"/* ]]; then
    echo "imported from $location, not from the wheel" >&2
    exit 1
fi

# the first Python example of the README, word for word
awk '/^```python$/ { inside = 1; next } /^```$/ && inside { exit } inside' "$readme" > example.py
grep -q 'CROLoss' example.py
run "$bin/python" example.py

run "$bin/croloss" --help > help.txt
grep -q 'fit' help.txt
grep -m 1 '^usage' help.txt

install "$wheel[tables]"
run "$bin/python" - <<'PYTHON'
from lightning_croloss import load_pretrained

model = load_pretrained("ml-100k/gru4rec")
recommended = model.recommend_tokens([["50", "181"]], n=10)[0]
assert len(recommended.tokens) == 10, recommended
print(type(model).__name__, *recommended.tokens)
PYTHON
echo "the wheel works"
