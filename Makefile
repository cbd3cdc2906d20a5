# One-liners. `make demo` and `make test` are all a new machine needs (Python 3.11 or newer).
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check
MINIO  := github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c
CLIENTS := hub0 hub1 transformers s3
RESULTS := benchmarks/results
DEMO   := $(BIN)/sync-daemon --config config/demo/mirror.yaml

.PHONY: help demo demo-daemon soak systemd test clients embedding peers check stores faults fmt minio lock bench bench-all clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/'

demo: $(VENV)/.run ## mirror a small sample model from a directory into ./mirror, twice
	$(DEMO) run-once
	$(DEMO) status
	$(DEMO) show tiny-llama@main
	@echo '--- the second run finds nothing to move ---'
	$(DEMO) run-once

demo-daemon: $(VENV)/.dev ## show the daemon by the minute: two runs, reloads, an end in mid-transfer (5 minutes)
	$(BIN)/python benchmarks/demonstration.py

systemd: $(VENV)/.dev ## run the shipped units under a real systemd in namespaces of its own (root; a minute)
	$(BIN)/python benchmarks/systemd.py

soak: $(VENV)/.dev minio ## watch memory, threads, files and sockets of the daemon for 30 minutes
	$(BIN)/python benchmarks/soak.py

test: $(VENV)/.dev minio clients ## install what the tests need, MinIO included, and run everything
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/pytest -n 2 --dist loadgroup

clients: $(foreach one,$(CLIENTS),$(VENV)/clients/$(one)/.ready) ## install the clients that the gateway is tested with

peers: $(VENV)/.bench $(VENV)/clients/olah/.ready ## install the peers of the benchmarks

embedding: $(VENV)/.dev minio $(VENV)/clients/torch/.ready ## load real weights by torch, through the gateway and as vLLM from the bucket (5 GB to install)
	SYNC_DAEMON_REQUIRE_CLIENTS=1 SYNC_DAEMON_WITH_TORCH=1 $(BIN)/pytest -s tests/clients/test_embedding.py tests/clients/test_vllm_loader.py

stores: $(VENV)/.dev ## prove an S3 server of yours, one for trials: make stores ENDPOINT=http://host:port, keys in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY
	SYNC_DAEMON_TEST_S3=$(ENDPOINT) $(BIN)/pytest -n 1 -k named tests/stores

faults: $(VENV)/.dev minio ## print what comes of every kind of trouble with an origin, and with a store
	$(BIN)/pytest -s tests/e2e/test_bad_origins.py tests/e2e/test_bad_stores.py

check: $(VENV)/.dev ## lint, format, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fmt: $(VENV)/.dev ## format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

minio: $(VENV)/.dev ## build the MinIO server for the tests (needs Go; about 3 minutes, once)
	@$(BIN)/python -m tests.support.servers --has-minio || { command -v go >/dev/null && echo 'building MinIO ...' && go install $(MINIO); } || echo 'MinIO could not be built (is there a Go?): the tests that need it are left out'

bench: peers minio ## compare with rclone, aria2 and s5cmd on this machine and draw docs/performance.svg
	$(BIN)/python benchmarks/work_a.py --json $(RESULTS)/work_a.json
	$(BIN)/python benchmarks/plot.py

bench-all: bench ## run every benchmark of docs/performance.md (about half an hour)
	$(BIN)/python benchmarks/work_a.py --tls --json $(RESULTS)/work_a_tls.json
	$(BIN)/python benchmarks/plot.py
	@for one in unchanged changed slow_origin memory resume rates hashing gateway pull; do echo "## $$one"; $(BIN)/python benchmarks/$$one.py --json $(RESULTS)/$$one.json || exit 1; done

lock: ## resolve the dependencies anew into requirements/
	for set in run alerts dev bench; do uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header $$(case $$set in run) ;; alerts) echo --extra alerts ;; *) echo --group $$set ;; esac) pyproject.toml -o requirements/$$set.txt; done
	for set in hub0 hub1 transformers s3 torch olah; do uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header requirements/client-$$set.in -o requirements/client-$$set.txt; done

clean: ## remove what the targets above made
	rm -rf $(VENV) mirror .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

$(BIN)/python:
	python3 -m venv $(VENV)

$(VENV)/.run: requirements/run.txt requirements/build.txt pyproject.toml | $(BIN)/python
	$(PIP) --require-hashes -r requirements/run.txt -r requirements/build.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/.dev: requirements/dev.txt requirements/samples.txt $(VENV)/.run
	$(PIP) --require-hashes -r requirements/dev.txt
	$(PIP) --require-hashes --no-deps -r requirements/samples.txt
	touch $@

$(VENV)/clients/%/.ready: requirements/client-%.txt
	python3 -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	touch $@

$(VENV)/.bench: requirements/bench.txt $(VENV)/.dev
	$(PIP) --require-hashes -r requirements/bench.txt
	touch $@
