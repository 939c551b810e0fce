#!/bin/sh
# Install the packages of LDTM for development into the environment of a Python: install.sh PYTHON
# If all files come from pypi.org, every one must have a hash of requirements.lock. If pip is configured for other indexes
# or folders, whose files may have other bytes, or the environment has another release of torch, constraints.txt pins the
# versions without hashes. An installed torch is kept.
set -eu
cd "$(dirname "$0")/.."
python=$1
packages=$(mktemp)
trap 'rm -f "$packages"' EXIT
torch=$("$python" -c 'from importlib.metadata import version; print(version("torch"))' 2>/dev/null || true)
pinned=$(sed -n 's/^torch==//p' constraints.txt)
pip="$python -m pip --disable-pip-version-check"
if $pip config list | grep -Eq "index-url|find-links|no-index"; then
    reason="pip is configured for another index than pypi.org"
elif [ -n "$torch" ] && [ "${torch%%+*}" != "$pinned" ]; then
    reason="torch $torch is kept, and the lock has torch $pinned"
else
    reason=""
fi
if [ -n "$reason" ]; then
    echo "Hashes are not checked: $reason."
    sh docker/keep-torch.sh "$python" < constraints.txt > "$packages"
    $pip install --quiet --constraint "$packages" --editable '.[dev]'
    exit
fi
if [ -n "$torch" ]; then
    awk '/^[a-z0-9]/ { dropped = /^(torch|cuda-[a-z]+|nvidia-(cu[a-z0-9-]+|nccl-cu13|nv[a-z0-9-]+))==/ } !dropped' \
        requirements.lock > "$packages"
else
    cat requirements.lock > "$packages"
fi
echo "Every file is checked against the hashes of requirements.lock."
$pip install --quiet --require-hashes --no-deps --only-binary :all: --requirement "$packages"
$pip install --quiet --no-deps --no-build-isolation --no-index --editable .
