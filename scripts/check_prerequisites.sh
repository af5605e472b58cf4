#!/usr/bin/env bash
# Says which of the few things that setting up presupposes are missing, all at once.
# Usage: check_prerequisites.sh PYTHON
set -euo pipefail

python=${1:?usage: check_prerequisites.sh PYTHON}
missing=()

if ! command -v "$python" >/dev/null; then
    missing+=("Python 3.10 or newer: '$python' was not found (Debian: apt install python3; or name another: make setup PYTHON=/path/to/python3)")
elif ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
    missing+=("Python 3.10 or newer: '$python' is $("$python" -V 2>&1) (name another: make setup PYTHON=/path/to/python3)")
else
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        missing+=("the venv module of '$python' (Debian: apt install python3-venv)")
    header=$("$python" -c 'import os, sysconfig; print(os.path.join(sysconfig.get_path("include"), "Python.h"))')
    [ -f "$header" ] ||
        missing+=("the headers of '$python': $header does not exist (Debian: apt install python3-dev)")
fi
command -v git >/dev/null || missing+=("git (Debian: apt install git)")
command -v make >/dev/null || missing+=("make (Debian: apt install make)")
compiler=${CXX:-c++}
# CXX may carry options or a launcher before the compiler's name.
command -v "${compiler%% *}" >/dev/null ||
    missing+=("a C++ compiler: '$compiler' was not found (Debian: apt install g++; or set CXX)")

if [ ${#missing[@]} -gt 0 ]; then
    echo "sam2_ros cannot be set up here. Missing:" >&2
    printf '  - %s\n' "${missing[@]}" >&2
    exit 1
fi
