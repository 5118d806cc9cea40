#!/usr/bin/env bash
# Everything that only a GPU shows, in one table, in under eight minutes:
#
#   bash benchmarks/gpu.sh full [--nnunet ~/nnunet] [-o results/gpu.json]     needs an NVIDIA GPU
#   bash benchmarks/gpu.sh small [-o FILE]                                    the same on a processor, with tiny networks
#
# Iterations per second and how busy the device is (beside nnU-Net, where its environment is named), peak memory of the
# machine and the card, a training that runs out of memory, two deterministic trainings compared, seconds of prediction.
set -euo pipefail
cd "$(dirname "$0")/.."
python=.venv/bin/python
[ -x "$python" ] || python=python3
export GOMP_SPINCOUNT=10000
exec timeout 480 "$python" benchmarks/gpu.py "$@"
