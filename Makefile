# Every command a person types. `make` prints them.
.DEFAULT_GOAL := help
.PHONY: help up dev down logs report ps status top scale send doctor build test chaos soak bench stampede lint lock clean
export SUBSCRIBERS LAYERS RUNTIME DETACH CHANNEL DATA ONCE

help: ## Print this help
	@awk -F ':.*## ' '/^##@/ { printf "\n%s\n", substr($$0, 5) } /^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

##@ Run it
up: ## Start everything, logs streaming; Ctrl-C stops it (SUBSCRIBERS=3, LAYERS=prod, DETACH=1, RUNTIME=compose|local)
	@scripts/up

dev: ## Start it and restart services when their code changes
	@docker compose up --build --watch --scale subscriber=$(or $(SUBSCRIBERS),1)

down: ## Stop everything, whatever layers are up; data stay
	@scripts/stack down

scale: ## Have that many subscribers: make scale SUBSCRIBERS=3
	@scripts/stack scale

##@ Watch it
logs: ## Follow the logs (SERVICE=subscriber LEVEL=warning EVENT=caught_up,conn* CHANNEL=orders TAIL=100 FOLLOW=0 RAW=1)
	@scripts/stack logs

report: ## Publish probe messages and say who received what (COUNT=20 RATE=20 CHANNEL=notifications WITHIN=30s JSON=1)
	@scripts/stack report $(ARGS)

ps: ## What runs, and how it is
	@scripts/stack ps

status: ## Histories, producers, and how far each subscriber is
	@scripts/stack status

top: ## A live view of every replica: state, rate, lag, latency, lost (ONCE=1 prints it once)
	@scripts/venv scripts
	@scripts/stack top

send: ## Publish a message: make send DATA='hello' [CHANNEL=notifications]
	@scripts/stack send

doctor: ## What this machine has of what is needed
	@scripts/doctor

##@ Work on it
build: ## Build the images
	@docker compose build

test: ## Run all tests (PYTEST='-k name' for some)
	@scripts/venv tests
	@.venv/bin/python -m pytest $(PYTEST)

chaos: ## A fault run on the real stack (FAULTS=20 SEED=7 ARGS='--set HISTORY_SIZE=0 --expect-loss')
	@scripts/venv scripts
	@.venv/bin/python scripts/chaos.py --faults $(or $(FAULTS),20) --seed $(or $(SEED),$(shell date +%s)) $(ARGS)

soak: ## The protocol under 2,000 random schedules of faults (EXAMPLES=1000 of each of two kinds)
	@scripts/venv tests
	@EXAMPLES=$(or $(EXAMPLES),1000) .venv/bin/python -m pytest tests/integration/test_protocol.py

bench: ## Measure against the peers (MODE=short|full)
	@scripts/venv scripts
	@scripts/bench/run --mode $(or $(MODE),short)

stampede: ## 50 subscribers that were away come back at once: what the live traffic notices
	@scripts/venv scripts
	@.venv/bin/python scripts/stampede.py

lint: ## Check code, shell, Dockerfiles and Compose files
	@scripts/venv tests
	@scripts/lint

lock: ## Renew the hashed requirements
	@scripts/venv tests
	@PATH="$(CURDIR)/.venv/bin:$$PATH" scripts/lock

clean: ## Remove what was made here: containers, data, images, .venv
	@scripts/stack clean
