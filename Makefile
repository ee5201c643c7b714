# Everything a developer or a first-time user runs. `make help` lists the targets.
.DEFAULT_GOAL := help
.NOTPARALLEL:
SHELL := /bin/sh

PY := .venv/bin/python
PYTEST_ARGS ?=
FAST := fast and not slow and not alone
# Groups of tests/frameworks/versions.toml, joined by commas; empty: all.
FRAMEWORKS ?=
CHECKED := libs services cli scripts benchmarks deploy examples tests

.PHONY: help demo demo-nats test test-fast test-python check docs pictures bench prove test-compose test-frameworks test-gpu nats-server nats-oldest chromium haproxy compose-check clean venv-demo venv-test

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: venv-demo ## train, save, serve and check one model, all in one process group; nothing to install beside Python
	@$(PY) examples/demo.py

demo-nats: venv-demo nats-server ## the same with gateway, batcher, runner and store as processes over nats-server
	@$(PY) examples/demo.py --nats

test: venv-test nats-server chromium haproxy check compose-check ## every check and every test
	@$(PY) scripts/run_tests.py $(PYTEST_ARGS)

test-fast: venv-test ## the tests that start no process and open no port, in seconds
	@$(PY) -m pytest -n auto --dist loadfile --no-loadscope-reorder -m "$(FAST)" $(PYTEST_ARGS)

test-python: venv-test ## the fast tests with trixie's Python 3.13; what Python 3.10, 3.12 and 3.14 would install; needs root and Debian
	@$(PY) scripts/test_pythons.py $(PYTEST_ARGS)

check: venv-test ## format, lint, types, sizes, generated docs; no tests
	@$(PY) -m ruff format --check --quiet $(CHECKED) || { echo "check: run: .venv/bin/ruff format $(CHECKED)" >&2; exit 1; }
	@$(PY) -m ruff check --quiet $(CHECKED)
	@$(PY) -m mypy --no-error-summary
	@$(PY) -m mypy --no-error-summary scripts benchmarks deploy examples
	@$(PY) scripts/size.py
	@$(PY) scripts/generate_docs.py --check
	@$(PY) scripts/wire_page.py --check
	@$(PY) scripts/values_page.py --check
	@echo "check: ok"

docs: venv-test ## write docs/errors.md, settings.md and wire.md from the code, values.md from the tests' table
	@$(PY) scripts/generate_docs.py
	@$(PY) scripts/wire_page.py
	@$(PY) scripts/values_page.py

pictures: venv-test chromium ## take the pictures of the store's pages anew, for docs/store.md
	@VTSSERVING_PICTURES=1 $(PY) -m pytest -q tests/store/pages/test_browser.py -k phone_and_the_dark $(PYTEST_ARGS)

bench: venv-test nats-server ## closed-loop load, embedded and NATS, beside a floor, each body format, and tables; writes benchmarks/results.md, formats.md, tables.md
	@$(PY) -m benchmarks.run
	@$(PY) -m benchmarks.formats
	@$(PY) -m benchmarks.tables

prove: venv-test nats-server haproxy ## the tests marked `prove` at full size; ONLY=scoring chooses; appends their figures to docs/proofs.md
	@VTSSERVING_PROVE=1 $(PY) -m pytest -m "prove and not compose" $(if $(ONLY),-k "$(ONLY)") $(PYTEST_ARGS)

test-compose: venv-test ## build the images and run the cluster in containers, with faults; needs Docker, Compose and root
	@$(PY) -m pytest -m compose -o faulthandler_timeout=0 tests/compose $(PYTEST_ARGS)

test-frameworks: venv-test nats-server ## install the pinned frameworks (FRAMEWORKS=xgboost,onnx: only these) and run the tests that need them
	@$(PY) scripts/test_frameworks.py --frameworks '$(FRAMEWORKS)' $(PYTEST_ARGS)

test-gpu: venv-test ## install torch with CUDA and run the tests that need an NVIDIA GPU; skipped with the reason where there is none
	@$(PY) -m pip --disable-pip-version-check install --quiet 'torch==2.13.0'
	@$(PY) -m pytest -m gpu -rs $(PYTEST_ARGS)

clean: ## remove what the targets above made, .venv included
	rm -rf .venv build dist .demo .bench .mypy_cache .pytest_cache .ruff_cache .hypothesis .schemathesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

venv-demo:
	@scripts/venv.sh demo

venv-test:
	@scripts/venv.sh test

nats-server:
	@scripts/nats_server.sh

test prove: nats-oldest
nats-oldest: venv-test
	@scripts/nats_server.sh oldest

chromium:
	@scripts/chromium.sh

haproxy:
	@scripts/haproxy.sh

compose-check:
	@scripts/compose_check.sh
