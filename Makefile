# make demo   the whole loop on real bars: prices, features, backtests, gate, forecasts, actuals, leaderboard
# make ui     the Dagster UI on what the demo made
# make test   make check and the whole test suite
# make bench  the speed figures
# make fortnight  weeks of evenings by a shifted clock: outages, a split, a holiday, a kill (about ten minutes)
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
CPU_INDEX := https://download.pytorch.org/whl/cpu

.PHONY: install demo ui test check bench fortnight clean

install: $(VENV)/.installed

# A torch that is in .venv already is kept, whatever its build and version; its own requirements then decide about triton.
$(VENV)/.installed: pyproject.toml constraints.txt
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	@torch=$$($(BIN)/python -c 'from importlib.metadata import version; print(version("torch"))' 2>/dev/null); \
	pinned=$$(sed -n 's/^torch==//p' constraints.txt); \
	cp constraints.txt $(VENV)/constraints.txt; \
	if [ -z "$$torch" ]; then \
		echo "Installing pinned packages into $(VENV). The default torch $$pinned for Linux brings CUDA: 2.7 GB to download,"; \
		echo "3.1 GB with all other packages. For the CPU build (0.2 GB instead of 2.7 GB) press Ctrl-C and run:"; \
		echo "  $(BIN)/pip install --no-deps torch==$$pinned --index-url $(CPU_INDEX) && make install"; \
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

test: check
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

bench: install
	@for script in benchmarks/bench_*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

fortnight: install
	$(BIN)/pytest -n 0 -m fortnight tests/acceptance/test_simulation.py

clean:
	@if test -x $(BIN)/ldtm; then $(BIN)/ldtm down; fi
	rm -rf .ldtm/ldtm_demo $(VENV)
