#!/usr/bin/env bash
# Makes every GPU result that is still missing, and stops by itself before a slice of time ends.
#
#   benchmarks/gpu.sh [--minutes 9] [--output gpu-results] [flags of gpu.py]
#
# Runs on any machine with an NVIDIA GPU and a Python that has PyTorch for CUDA: PYTHON names it (default: python3).
# Nothing is fetched. Python packages that this Python lacks may lie as wheels in a folder that WHEELS names; they are
# unpacked beside the results. The same command again goes on where the last one stopped.
set -euo pipefail

root=$(realpath "$(dirname "$0")/..")
python=${PYTHON:-python3}
command -v "$python" > /dev/null || { echo "there is no $python here: name a Python that has PyTorch as PYTHON" >&2; exit 2; }

if [ -n "${WHEELS:-}" ]; then
    site=$(mktemp -d)
    trap 'rm -rf "$site"' EXIT
    "$python" -m pip install --quiet --disable-pip-version-check --no-index --no-deps --target "$site" "$WHEELS"/*.whl
    export PYTHONPATH=$site${PYTHONPATH:+:$PYTHONPATH}
fi
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
"$python" "$root/benchmarks/gpu.py" "$@"
