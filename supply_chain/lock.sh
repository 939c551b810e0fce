#!/bin/sh
# Write requirements.lock: every pinned package with the hashes of all its wheels on pypi.org. Needs uv and the network.
# The versions are those of constraints.txt; a change there without a new lock fails tests/unit/test_supply_chain.py.
set -eu
cd "$(dirname "$0")/.."
uv pip compile --no-config --quiet --no-header --no-annotate --universal --python-version 3.11.5 \
    --index-url https://pypi.org/simple --only-binary :all: --generate-hashes \
    --constraint constraints.txt --extra dev pyproject.toml --output-file requirements.lock
