# make demo   the whole loop on real bars: prices, features, backtests, gate, forecasts, actuals, leaderboard
# make ui     the Dagster UI on what the demo made
# make quick  unit tests that start no process, in less than a minute
# make check  lint, format, types, import contracts
# make test   make check, then unit, integration and acceptance tests (10 to 15 minutes on 2 cores)
# make nightly  kills of runs and installations, long random histories, simulated weeks, the wheel, and the SQL on PostgreSQL 15
# make bench  the speed figures
# make simulation  the simulated weeks alone (about ten minutes; LDTM_SIMULATION_TICKERS says for how many tickers)
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: install demo ui quick check test nightly bench simulation clean

install: $(VENV)/.installed

# A torch that is in .venv already is kept, whatever its build and version; its own requirements then decide about triton.
$(VENV)/.installed: pyproject.toml constraints.txt
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	@torch=$$($(BIN)/python -c 'from importlib.metadata import version; print(version("torch"))' 2>/dev/null); \
	pinned=$$(sed -n 's/^torch==//p' constraints.txt); \
	cp constraints.txt $(VENV)/constraints.txt; \
	if [ -z "$$torch" ]; then \
		echo "Installing pinned packages into $(VENV). The default torch $$pinned for Linux brings CUDA: 2.7 GB to download,"; \
		echo "3.1 GB with all other packages. For a CPU build (0.2 GB instead of 2.7 GB) press Ctrl-C, install one into"; \
		echo "$(VENV) as pytorch.org describes for pip and CPU, and run make install again: it keeps the torch it finds."; \
	else \
		echo "Installing pinned packages into $(VENV), keeping its torch $$torch."; \
		if [ "$${torch%%+*}" != "$$pinned" ]; then \
			echo "constraints.txt pins torch $$pinned; for that one run: $(BIN)/pip uninstall --yes torch && make install"; \
			sed -E '/^(torch|triton|cuda-[a-z]+|nvidia-(cu[a-z0-9-]+|nccl-cu13|nv[a-z0-9-]+))==/d' constraints.txt > $(VENV)/constraints.txt; \
		fi; \
		echo "torch===$$torch" >> $(VENV)/constraints.txt; \
	fi
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint $(VENV)/constraints.txt --editable '.[dev]'
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

quick: install
	$(BIN)/pytest -n 2 -m "not slow and not nightly" tests/unit

test: check
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

bench: install
	@for script in benchmarks/bench_*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

nightly: install
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m nightly
	.ci/on-old-postgres

simulation: install
	$(BIN)/pytest -n 0 -m nightly tests/acceptance/test_simulation.py

clean:
	@if test -x $(BIN)/ldtm; then $(BIN)/ldtm down --all; fi
	rm -rf .ldtm/ldtm_demo $(VENV)
