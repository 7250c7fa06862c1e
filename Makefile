# The two commands that matter: `make run` and `make test`.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
INSTALL := config/deploy/install $(VENV)
HOST ?= 127.0.0.1
PORT ?= 8000

.PHONY: help run worker train-tools test bench lint audit format messages clean

help:
	@echo "make run     install, migrate, start everything in one process, print address and first login"
	@echo "make worker  start workers of their own: for images, for videos, for what goes out (needs REDIS_URL)"
	@echo "make train-tools  install what training needs"
	@echo "make test    install what tests need and run lint and all tests"
	@echo "make bench   measure how fast it is, beside its limits and its peers, and print the tables (some 20 minutes)"
	@echo "make lint    ruff, mypy, import-linter, djlint, hadolint, compose.yaml, bandit, known vulnerabilities"
	@echo "make audit   known vulnerabilities of what is installed (needs the network)"
	@echo "make format  let ruff and djlint rewrite the sources"
	@echo "make messages  collect the strings to translate, and compile what is translated (needs gettext)"

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# Stamps: an installation is redone only when its list of packages has changed.
$(VENV)/.server: requirements.txt config/deploy/install | $(BIN)/python
	$(INSTALL) server
	@touch $@

$(VENV)/.dev: requirements.txt requirements-s3.txt requirements-training.txt requirements-mesh.txt requirements-dev.txt config/deploy/install | $(BIN)/python
	$(INSTALL) dev
	@touch $@ $(VENV)/.server $(VENV)/.training

# A secret key of this machine's own: there is no default one.
.env: .env.example
	@test -f .env || (umask 077 && sed "s|^VERIFRAME_SECRET_KEY=.*|VERIFRAME_SECRET_KEY=$$($(PYTHON) -c 'import secrets; print(secrets.token_urlsafe(50))')|" .env.example > .env)
	@touch .env

run: $(VENV)/.server .env
	@$(BIN)/python manage.py migrate --verbosity 0
	@$(BIN)/python manage.py first_user
	@exec $(BIN)/python manage.py serve --host $(HOST) --port $(PORT)

worker: $(VENV)/.server .env
	@exec $(BIN)/python manage.py worker

train-tools: $(VENV)/.training

$(VENV)/.training: requirements.txt requirements-training.txt requirements-mesh.txt config/deploy/install | $(BIN)/python
	$(INSTALL) training
	@touch $@ $(VENV)/.server

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	VERIFRAME_ENV_FILE= VERIFRAME_DEBUG=1 $(BIN)/mypy config accounts detection manage.py
	$(BIN)/lint-imports --no-cache
	$(BIN)/djlint templates --lint --quiet
	$(BIN)/hadolint Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec compose.yaml
	$(BIN)/bandit --quiet --recursive --configfile pyproject.toml config accounts detection manage.py
	@$(BIN)/python -m tests.advisories --best-effort

# Fails at a known vulnerability and where there is no answer; `make lint` only says so.
audit: $(VENV)/.dev
	@$(BIN)/python -m tests.advisories

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/djlint templates --reformat --quiet

# After a new string: make messages, translate it in config/locale, make messages again.
messages: $(VENV)/.dev
	VERIFRAME_ENV_FILE= VERIFRAME_DEBUG=1 $(BIN)/python manage.py makemessages --locale de --no-obsolete --no-wrap --add-location file --ignore tests --ignore benchmarks --ignore runs --ignore media --ignore static --ignore detection/training
	VERIFRAME_ENV_FILE= VERIFRAME_DEBUG=1 $(BIN)/python manage.py compilemessages --locale de --ignore .venv

test: lint
	@VERIFRAME_ENV_FILE= VERIFRAME_DEBUG=1 $(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/python -m pytest

# Leave the machine alone meanwhile. BENCH="--only web" measures a part; `python -m benchmarks.speed --help` has the rest.
bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks.speed $(BENCH)

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache
