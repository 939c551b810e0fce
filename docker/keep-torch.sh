#!/bin/sh
# Print constraints.txt for an environment that keeps the torch of a Python: keep-torch.sh PYTHON < constraints.txt
# If that Python has no torch, or the pinned release of it, the other constraints do not change.
set -eu
constraints=$(cat)
torch=$("$1" -c 'from importlib.metadata import version; print(version("torch"))' 2>/dev/null || true)
pinned=$(printf '%s\n' "$constraints" | sed -n 's/^torch==//p')
if [ -n "$torch" ] && [ "${torch%%+*}" != "$pinned" ]; then
    constraints=$(printf '%s\n' "$constraints" |
        sed -E '/^(torch|triton|cuda-[a-z]+|nvidia-(cu[a-z0-9-]+|nccl-cu13|nv[a-z0-9-]+))==/d')
fi
printf '%s\n' "$constraints"
[ -z "$torch" ] || printf 'torch===%s\n' "$torch"
