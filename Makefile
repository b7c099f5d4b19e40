# Papertape: `make run` and `make test` are all a newcomer needs. They want Python >= 3.11, git and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
CONFIG ?= configs/demo.toml

.PHONY: run test check bench format coverage clean

run: $(READY)
	$(BIN)/papertape run $(CONFIG)

# Two processes, a file of tests each at a time; what starts daemons comes last, so that their trainers have a core.
test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile --ignore=tests/live
	$(BIN)/python -m pytest -n 2 --dist loadfile tests/live

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)
	$(BIN)/papertape bench

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The core's kernels run as plain Python here, so that coverage sees their branches; the adapters' kernels cannot.
UNITS := types engine paper book risk ledger hard_cases jit honesty queue thresholds funding margin borrow corporate fees \
  latency gateway calibration order_life order_lists order_types taking impact venue_rules bad_market_data reporting truth \
  side_core
PROPERTIES := engine ledger risk paper_model fees margin lines triggers honesty queue_rules
CORE_TESTS := $(UNITS:%=tests/unit/test_%.py) $(PROPERTIES:%=tests/property/test_%.py) engine/core
coverage: $(READY)
	NUMBA_DISABLE_JIT=1 $(BIN)/coverage run --branch --source=engine/core -m pytest -q -k "not test_binance_when" $(CORE_TESTS)
	$(BIN)/coverage report --fail-under=95

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Papertape needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Set PYTHON=..."; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,fast,ml]'
	@touch $@

clean:
	rm -rf $(VENV) var build *.egg-info
