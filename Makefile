# Verbs, each sets up what it needs: run, test, check, bench, trust, soak.
# A virtual environment in .venv, everything the studio writes in .tempo (or TEMPO_HOME).

.DEFAULT_GOAL := run
SHELL := /bin/sh

BIN := .venv/bin
HOME_OF_STUDIO := $(or $(TEMPO_HOME),.tempo)

# The first Python that is new enough and can make environments; `make PYTHON=...` names another.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

.PHONY: run test check bench trust soak ready chromium postgres postgresql

run: $(HOME_OF_STUDIO)/ready ## the studio in the browser, with the embedded demo
	$(BIN)/streamlit run app.py --server.showEmailPrompt=false $(ARGS)

# Two at a time, a file each: fixtures that draw videos or start a server are made once a file. The longest go first.
test: ready chromium postgresql ## the whole suite; ARGS="-k name" for a part of it
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)$(if $(CODE),; echo $$? > $(CODE))

postgres: ready postgresql ## the tests of the database and the queue on a Postgres server
	$(BIN)/python -m pytest -m postgres $(ARGS)

check: ready ## lint and types
	$(BIN)/ruff check .
	$(BIN)/mypy tempo_core db jobs

bench: ready ## how fast, as ratios inside one run
	@set -e; for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script --json; done

trust: ready chromium postgresql ## faults, load and attacks: fills the table of docs/trust.md; ARGS="--only F1,F8"
	$(BIN)/python benchmarks/trust/table.py $(ARGS)

soak: ready ## kill anything at random for minutes; ARGS="--minutes 30 --seed 7"
	$(BIN)/python benchmarks/trust/soak.py $(ARGS)

ready: .venv/ready

.venv/ready: requirements.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer with venv is needed (Debian: apt install python3-venv)." >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(HOME_OF_STUDIO)/ready: .venv/ready
	$(BIN)/python -m jobs setup
	@touch $@

# Only the browser tests need it. Root on Debian gets it; elsewhere it is said how.
chromium:
	@for name in chromium chromium-browser google-chrome; do command -v $$name >/dev/null 2>&1 && exit 0; done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y chromium >/dev/null; \
	else echo "Chromium is not installed: the browser tests are skipped (Debian: apt install chromium)."; fi

# The same for the tests on Postgres. Nothing is started or changed: each run makes a server of its own and removes it.
postgresql:
	@command -v initdb >/dev/null 2>&1 && exit 0; ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y postgresql >/dev/null; \
	else echo "Postgres is not installed: its tests are skipped (Debian: apt install postgresql)."; fi
