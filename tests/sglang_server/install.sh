#!/usr/bin/env bash
# Make an environment in which a real SGLang server runs on a CPU: for tests, not for work.
# usage: install.sh [DIRECTORY]    (.sglang by default; what is complete already is left as it is)
#
# SGLang has no build for CPUs on the registry. All of its packages are pinned here and installed without their
# dependencies, since those are CUDA's; what is then missing stands in `standins`.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
target=${1:-.sglang}
state=$(cat "$0" "$here/requirements.txt" $(find "$here/standins" -name '*.py' | sort) | sha256sum | cut -d' ' -f1)
if [ "$(cat "$target/.complete" 2>/dev/null)" = "$state" ]; then
  exit 0
fi
rm -rf "$target"
"${PYTHON:-python3}" -m venv "$target"
pip=("$target/bin/python" -m pip install --quiet --disable-pip-version-check)
"${pip[@]}" "$(grep '^torch==' "$here/requirements.txt")" # alone first: it has to be the one for CPUs
"${pip[@]}" --no-deps -r "$here/requirements.txt"
site=$("$target/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
cp -r "$here/standins/." "$site"
echo 'import torchvision_operators' >"$site/torchvision_operators.pth"
"$target/bin/python" -m compileall -q -j 2 "$site/sglang" "$site/transformers" "$site/torchvision" >/dev/null || true
echo "$state" >"$target/.complete"
