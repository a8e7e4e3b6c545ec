# Every target creates the environment that it needs; nothing has to be installed by hand.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNTIME_STAMP := $(VENV)/.runtime-installed
STAMP := $(VENV)/.installed
BENCH_STAMP := $(VENV)/.bench-installed
DOCS_STAMP := $(VENV)/.docs-installed
SUPPLY_STAMP := $(VENV)/.supply-installed
SBOM_ENV := build/sbom-environment
LOCK := $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11.4 --generate-hashes --no-annotate \
	--custom-compile-command 'make lock' setup.cfg

# Fails with the reason at once, where pip would search for versions that fit an old Python; any Python can run it.
CHECK_PYTHON = @$(PYTHON) -c 'import sys; v = tuple(sys.version_info[:3]); sys.exit(v < (3, 11, 4) and \
	"Compozy needs Python 3.11.4 or newer; this is %d.%d.%d\nName another one, such as: make start PYTHON=python3.12" % v)'

.PHONY: start test test-memory coverage lint types style bench bench-short bench-peers generate golden histories openapi docs site lock build smoke sbom clean

# The versions and hashes of everything that is installed are fixed by constraints*.txt; `make lock` renews them.
$(RUNTIME_STAMP): setup.cfg pyproject.toml constraints-runtime.txt constraints-installer.txt
	$(CHECK_PYTHON)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python tools/install.py constraints-runtime.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/python -m compileall -q engine rules
	touch $(RUNTIME_STAMP)

$(STAMP): setup.cfg pyproject.toml constraints.txt constraints-installer.txt
	$(CHECK_PYTHON)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python tools/install.py constraints.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/python -m compileall -q engine rules
	touch $(STAMP) $(RUNTIME_STAMP)

$(BENCH_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --editable '.[dev,bench]'
	touch $(BENCH_STAMP)

$(DOCS_STAMP): $(STAMP) constraints-docs.txt
	$(BIN)/python tools/install.py constraints-docs.txt
	touch $(DOCS_STAMP)

$(SUPPLY_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --editable '.[dev,supply]'
	touch $(SUPPLY_STAMP)

start: $(RUNTIME_STAMP)
	$(BIN)/compozy start

# With COVERAGE=1 the run measures coverage and fails below the floor of setup.cfg; with COVERAGE=all it traces each test.
test: $(STAMP)
ifndef COVERAGE
	$(BIN)/python -m pytest -n 4 --dist worksteal
else
	rm -rf build/coverage
	mkdir -p build/coverage
	$(BIN)/coverage run -m pytest $(if $(filter all,$(COVERAGE)),,-p tests.support.traced_tests) -n 4 --dist worksteal
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report
endif

# Tests that need no PostgreSQL and no other server outside Compozy.
test-memory: $(STAMP)
	COMPOZY_TEST_MODE=memory $(BIN)/python -m pytest -n 4 --dist worksteal

# Lines and branches of the engine that the tests run, processes that they start included.
coverage:
	$(MAKE) test COVERAGE=$(or $(COVERAGE),1)

# The types take longest: `make --jobs=2` checks them beside all else.
lint: types style

types: $(STAMP)
	$(BIN)/mypy

style: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/python tools/lint/phrases.py
	$(BIN)/python tools/lint/comments.py

bench: $(BENCH_STAMP)
	$(BIN)/python -m compileall -q engine rules
	$(BIN)/python -m benchmarks

bench-short: $(BENCH_STAMP)
	$(BIN)/python -m compileall -q engine rules
	$(BIN)/python -m benchmarks --short

# Other engines, each in an environment of its own; Restate's server comes from npm and is left out where npm is missing.
PEERS := build/peers
bench-peers: $(STAMP)
	$(PYTHON) -m venv $(PEERS)/dbos
	$(PYTHON) -m venv $(PEERS)/prefect
	$(PEERS)/dbos/bin/pip install --quiet dbos==3.4.0
	$(PEERS)/prefect/bin/pip install --quiet prefect==3.9.1
	if command -v npm >/dev/null; then $(PYTHON) -m venv $(PEERS)/restate && \
		$(PEERS)/restate/bin/pip install --quiet restate-sdk==1.3.0 hypercorn==0.18.0 && \
		npm install --silent --prefix $(PEERS)/restate @restatedev/restate-server@1.7.12; fi
	$(BIN)/python -m compileall -q engine rules
	$(BIN)/python -m benchmarks peers

golden: $(STAMP)
	UPDATE_GOLDEN=1 $(BIN)/python -m pytest -q -n 2 tests/cli/test_golden.py tests/e2e/test_golden_banner.py

histories: $(STAMP)
	RECORD_HISTORIES=1 $(BIN)/python -m pytest -q tests/workflows/test_replay.py

openapi: $(STAMP)
	$(BIN)/python tools/openapi.py schemas/openapi.json

generate: $(STAMP) openapi
	PYTHONPATH=tools:. $(BIN)/python -m docs
	$(BIN)/python tools/pictures.py

# Pages link to files beside docs/, so the site is built from a copy that has the same layout.
SITE_FILES := docs examples rules schemas README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md LICENSE
docs: generate
	$(MAKE) site

# From the pages as they are committed; a test compares those with what `generate` writes.
site: $(DOCS_STAMP)
	rm -rf build/pages build/site
	mkdir -p build/pages
	cp -R $(SITE_FILES) tools/site/* build/pages
	find build/pages -name __pycache__ -prune -exec rm -r {} +
	$(BIN)/zensical build --strict --clean
	cp docs/configuration/.env.example build/site/docs/configuration
	$(BIN)/python tools/check_site.py build/site
	@echo "open build/site/index.html"

lock: $(SUPPLY_STAMP)
	$(LOCK) --extra dev --extra build --output-file constraints.txt
	$(LOCK) --extra build --constraint constraints.txt --output-file constraints-runtime.txt
	$(LOCK) --extra docs --constraint constraints.txt --output-file constraints-docs.txt
	echo 'uv < 1' | $(LOCK:setup.cfg=-) --output-file constraints-installer.txt
	$(BIN)/python tools/server_binaries.py

build: $(SUPPLY_STAMP)
	rm -f dist/compozy-*.whl dist/compozy-*.tar.gz
	$(BIN)/python -m build --outdir dist .
	$(BIN)/twine check --strict dist/compozy-*.whl dist/compozy-*.tar.gz

# Installs the wheel as a user does, and runs a new project in an empty directory.
smoke: build
	rm -rf build/smoke
	$(PYTHON) -m venv build/smoke
	build/smoke/bin/pip install --quiet dist/compozy-*.whl
	project=$$(mktemp -d) && bin=$$PWD/build/smoke/bin && cd "$$project" && $$bin/compozy init . && \
		$$bin/compozy config validate --strict && $$bin/compozy workflow run greet --param name=Ada && rm -r "$$project"

sbom: $(SUPPLY_STAMP)
	rm -rf $(SBOM_ENV)
	mkdir -p dist
	$(PYTHON) -m venv --without-pip $(SBOM_ENV)
	$(BIN)/python -m pip --python $(SBOM_ENV)/bin/python install --quiet --require-hashes -r constraints-runtime.txt
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	$(BIN)/python -m pip --python $(SBOM_ENV)/bin/python install --quiet --no-deps --no-index --find-links dist compozy
	$(BIN)/python -m pip --python $(SBOM_ENV)/bin/python uninstall --quiet --yes setuptools
	$(BIN)/cyclonedx-py environment --gather-license-texts --output-reproducible --output-format JSON --output-file dist/compozy.cdx.json \
		$(SBOM_ENV)/bin/python

clean:
	rm -rf $(VENV) build dist engine/*.egg-info
