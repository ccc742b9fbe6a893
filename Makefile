# make demo    the whole chain on this machine, in minutes; the page is demo/report.html
# make test    the tests
# make test-lmms    the tests that need lmms-eval (2.6 GB in .lmms-eval)
# make test-sglang    the tests that need a real SGLang server, on this machine's CPU (2.6 GB in .sglang)
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO ?= demo

.PHONY: setup demo test test-sglang test-lmms lint bench clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[train,dev]"
	@# svg-code rewards draw with libcairo; everything else works without it
	@ldconfig -p 2>/dev/null | grep -q 'libcairo\.so' || \
	  { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -qq -y libcairo2 >/dev/null; } || \
	  echo "libcairo is missing: svg-code answers cannot be judged; see 'ovrl doctor'"
	touch $@

demo: setup
	$(BIN)/ovrl demo $(DEMO)

test: setup
	$(BIN)/pytest -n 2 --dist loadfile

test-sglang: setup
	PYTHON=$(PYTHON) tests/sglang_server/install.sh .sglang
	OVRL_SGLANG=$(CURDIR)/.sglang $(BIN)/pytest tests/sglang_server

test-lmms: setup
	PYTHON=$(PYTHON) tests/lmms_eval/install.sh .lmms-eval
	OVRL_LMMS_EVAL=$(CURDIR)/.lmms-eval $(BIN)/pytest -n 2 --dist load tests/lmms_eval

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

bench: setup
	for file in benchmarks/*.py; do $(BIN)/python $$file || exit 1; done

clean:
	rm -rf $(VENV) .sglang .lmms-eval demo .pytest_cache .ruff_cache .hypothesis
