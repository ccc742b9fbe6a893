#!/usr/bin/env bash
# Make the environment that the tests of `ovrl eval --tasks` use. usage: install.sh DIRECTORY
# torch goes first and pinned: lmms-eval alone would bring the newest one with its CUDA packages.
set -euo pipefail
directory=$1
if [ -f "$directory/.ready" ]; then exit 0; fi
"${PYTHON:-python3}" -m venv "$directory"
pip=("$directory/bin/pip" --quiet --disable-pip-version-check install)
"${pip[@]}" torch==2.13.0
"${pip[@]}" torch==2.13.0 torchvision==0.28.0 transformers==5.23.0 lmms-eval==0.7.3 math-verify==0.9.0 \
  latex2sympy2_extended==1.11.0 Levenshtein orjson pyarrow cairosvg cairocffi defusedxml
touch "$directory/.ready"
