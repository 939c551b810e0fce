# make demo   the whole loop on real bars: prices, features, backtests, gate, forecasts, actuals, leaderboard
# make ui     the Dagster UI and the dashboard with the data of the demo
# make quick  unit tests that start no process, in less than a minute
# make check  lint, format, types, import contracts
# make test   make check, then unit, integration and acceptance tests (15 to 25 minutes on 2 cores)
# make nightly  make audit, then the tests of killed runs and installations, long random histories, simulated weeks,
#               the wheel, and the SQL on PostgreSQL 15
# make containers  tests of the image and the container stack on a separate Docker engine (about 20 minutes)
# make audit  compare the pins with the known vulnerabilities in the file that LDTM_VULNERABILITIES names
# make lock   write requirements.lock: the pins with their hashes on pypi.org (needs uv)
# make licences  write docs/licences.md
# make bench  measure the speed figures
# make image  the container image, with the commit in its labels; docker/README.md has the stack
# make simulation  the simulated weeks alone (about ten minutes; LDTM_SIMULATION_TICKERS sets the number of tickers)
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: install demo ui quick check test nightly containers bench simulation definitions audit lock licences image clean

install: $(VENV)/.installed

# A torch that is installed in .venv is kept, whatever its build and version; its requirements then determine triton.
$(VENV)/.installed: pyproject.toml constraints.txt requirements.lock docker/keep-torch.sh supply_chain/install.sh
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	@torch=$$($(BIN)/python -c 'from importlib.metadata import version; print(version("torch"))' 2>/dev/null); \
	pinned=$$(sed -n 's/^torch==//p' constraints.txt); \
	if [ -z "$$torch" ]; then \
		echo "Installing pinned packages into $(VENV). The default torch $$pinned for Linux brings CUDA: 2.7 GB to download,"; \
		echo "3.1 GB with all other packages. For a CPU build (0.2 GB instead of 2.7 GB) press Ctrl-C, install one into"; \
		echo "$(VENV) as pytorch.org describes for pip and CPU, and run make install again: it keeps the torch it finds."; \
	else \
		echo "Installing pinned packages into $(VENV), keeping its torch $$torch."; \
		if [ "$${torch%%+*}" != "$$pinned" ]; then \
			echo "constraints.txt pins torch $$pinned; to install that version, run: $(BIN)/pip uninstall --yes torch && make install"; \
		fi; \
	fi
	@sh supply_chain/install.sh $(BIN)/python
	@touch $@

demo: install
	@$(BIN)/ldtm demo

ui: install
	@$(BIN)/ldtm --config demo.toml up --foreground --dashboard

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

nightly: install audit
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m "nightly and not docker" -rs
	.ci/on-old-postgres

containers: install
	$(BIN)/pytest -m docker tests/acceptance/containers

audit: install
	@$(BIN)/python supply_chain/audit.py constraints.txt "$$LDTM_VULNERABILITIES"

lock:
	sh supply_chain/lock.sh

licences: install
	$(BIN)/python supply_chain/licences.py constraints.txt > docs/licences.md

definitions: install
	$(BIN)/python -m tests.write_definitions

simulation: install
	$(BIN)/pytest -n 0 -m nightly tests/acceptance/test_simulation.py

image:
	docker build -f docker/Dockerfile -t ldtm:$$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml) \
		--build-arg COMMIT=$$(git rev-parse --short HEAD) .

clean:
	@if test -x $(BIN)/ldtm; then $(BIN)/ldtm down --all; fi
	rm -rf .ldtm/ldtm_demo $(VENV)
