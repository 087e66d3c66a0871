# Everything sets up what it needs, in .venv; `make test` is what CI runs.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: demo test lint types unit coverage mutants deployment trust years dev bench peers schema clean

demo: $(READY)            ## the main job end to end on the embedded BigQuery
	$(BIN)/bbq demo

dev: $(READY)             ## Dagster's UI on the embedded BigQuery with the sample, sensors on
	$(BIN)/bbq dev

test: lint types unit     ## all checks

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

unit: $(READY)
	$(BIN)/pytest -n 3 --dist worksteal

coverage: $(READY)        ## every line and branch of core/ by its own tests: less than all fails
	$(BIN)/pytest bbq_dagster_tests/core -n 2 --cov

mutants: $(READY)         ## whether the tests of core/ notice when it is changed; make mutants MODULE=changes
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,mutation]'
	$(BIN)/mutmut run $(if $(MODULE),'bbq_dagster.core.$(MODULE).*')
	$(BIN)/mutmut results

deployment: $(READY)      ## two days of daemon, webserver and three run workers on Postgres; minutes
	$(BIN)/pytest -m deployment

trust: $(READY)           ## killed at every side effect, every fault at every call; long
	$(BIN)/pytest -m trust -n 2 --dist worksteal

years: $(READY)           ## 730 days of 500 tables against a model of what is true; make years SEED=7
	$(if $(SEED),BBQ_YEARS_SEED=$(SEED)) $(BIN)/pytest -m years -s

bench: $(READY)           ## make bench NAME=calls_idle
	@test -n "$(NAME)" || { echo "which one? make bench NAME=… of:"; ls benchmarks/*.py | xargs -n1 basename | grep -v '^_' | sed 's/\.py$$//;s/^/  /'; exit 2; }
	$(BIN)/python -m benchmarks.$(NAME)

peers: $(READY)           ## clients and suites not written here, on the embedded BigQuery; or make peers NAME=dbt
	$(BIN)/python -m peers $(NAME)

schema: $(READY)          ## write docs/bbq.schema.json anew
	$(BIN)/bbq settings schema > docs/bbq.schema.json

clean:
	rm -rf $(VENV) .bbq .peers .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage mutants

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $(READY)
