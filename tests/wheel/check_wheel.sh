#!/usr/bin/env bash
# Check built wheels far away from the source: tests/wheel/check_wheel.sh FOLDER [PYTHON] [CONSTRAINTS]
#
# FOLDER holds a wheel of each of the two distributions. Installs that of serving alone into a temporary environment, and
# both into another, with their core dependencies, then with [tables], and uses them there. Stops at the first command
# that fails; each one is printed before it runs.
set -euo pipefail

if [[ $# -lt 1 || $# -gt 3 ]]; then
    echo "usage: $0 FOLDER [PYTHON] [CONSTRAINTS]" >&2
    exit 2
fi
wheel=$(realpath -e "$1"/lightning_croloss-*.whl)
serving=$(realpath -e "$1"/lightning_croloss_serving-*.whl)
python=${2:-python3}
source=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")
constraints=$(realpath -e "${3:-$source/constraints.txt}")
readme=$source/README.md

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$python" -m venv "$work/without_torch"
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

run "$work/without_torch/bin/pip" install --quiet --disable-pip-version-check -c "$constraints" "$serving[serve]"
run "$work/without_torch/bin/python" - "$source/tests/formats/version_1/exports/youtube_dnn" <<'PYTHON'
import importlib.util
import sys

from croloss_serving import Recommender

found = [name for name in ("torch", "lightning", "lightning_croloss") if importlib.util.find_spec(name)]
assert not found, found
recommender = Recommender.from_export(sys.argv[1])
[recommended] = recommender.recommend([recommender.items.vocabulary.tokens[:3]], n=5)
assert len(recommended.tokens) == 5 and not recommended.fallback, recommended
print(recommender.model["class"], *recommended.tokens)
PYTHON

# torch first, alone and pinned, as in the Makefile
install torch
install "$serving" "$wheel"
echo "$("$bin/python" --version), $(basename "$wheel"), $(basename "$serving")"

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

run "$bin/croloss" --help
run "$bin/croloss" fit --help=all > help.txt
grep -q -- '--trainer.max_epochs' help.txt
grep -m 1 '^usage' help.txt

install "$serving" "$wheel[tables]"
run "$bin/python" - <<'PYTHON'
from lightning_croloss import load_pretrained

model = load_pretrained("ml-100k/gru4rec")
recommended = model.recommend_tokens([["50", "181"]], n=10)[0]
assert len(recommended.tokens) == 10, recommended
print(type(model).__name__, *recommended.tokens)
PYTHON
echo "the wheels work"
