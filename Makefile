# make demo   the whole loop on real bars: prices, features, backtests, gate, forecasts, actuals, leaderboard
# make ui     the Dagster UI on what the demo made
# make test   make check and the whole test suite
# make bench  the speed figures
# make fortnight  weeks of evenings by a shifted clock: outages, a split, a holiday, a kill (about ten minutes)
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: install demo ui test check bench fortnight clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing pinned packages into $(VENV) (about a minute)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: install
	@$(BIN)/ldtm demo

ui: install
	@$(BIN)/ldtm --config demo.toml up --foreground

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

test: check
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

bench: install
	@for script in benchmarks/bench_*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

fortnight: install
	$(BIN)/pytest -n 0 -m fortnight tests/acceptance/test_simulation.py

clean:
	@if test -x $(BIN)/ldtm; then $(BIN)/ldtm down; fi
	rm -rf .ldtm/ldtm_demo $(VENV)
