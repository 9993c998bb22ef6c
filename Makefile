# All commands for people; `make` prints them.
.DEFAULT_GOAL := help
.PHONY: help up dev down logs report ps status top scale send doctor build test chaos abuse soak bench stampede crowd lint lock clean keys token

# Variables given on the command line are taken literally: make would expand a dollar in them as its own variable.
$(foreach name,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(name)))),$(eval override export $(name) := $$(value $(name)))))

help: ## Print this help
	@awk -F ':.*## ' '/^##@/ { printf "\n%s\n", substr($$0, 5) } /^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

##@ Run it
up: ## Start everything and stream the logs; Ctrl-C stops it (SUBSCRIBERS=3 LAYERS=prod DETACH=1 RAW=1 RUNTIME=local)
	@scripts/run/up

dev: ## Start everything, and restart services when their code changes
	@docker compose up --build --watch --scale "subscriber=$${SUBSCRIBERS:-1}"

down: ## Stop everything, whatever layers are running; data are kept
	@scripts/run/stack down

scale: ## Change the number of subscribers: make scale SUBSCRIBERS=3
	@scripts/run/stack scale

##@ Watch it
logs: ## Follow the logs (SERVICE=subscriber LEVEL=warning EVENT=caught_up,conn* CHANNEL=orders TAIL=100 FOLLOW=0 RAW=1)
	@scripts/run/stack logs

report: ## Publish probe messages and show who received what (COUNT=20 RATE=20 CHANNEL=notifications WITHIN=30s JSON=1)
	@scripts/run/stack report

ps: ## List what runs, with its health
	@scripts/run/stack ps

status: ## Show histories, producers, and how far each subscriber is
	@scripts/run/stack status

top: ## Show a live view of every replica: state, rate, lag, latency, lost (ONCE=1 prints it once)
	@scripts/venv scripts
	@scripts/run/stack top

send: ## Publish a message: make send DATA='hello' [CHANNEL=notifications]
	@scripts/run/stack send

keys: ## Create the keys that tokens are signed and checked with, in compose/secrets/
	@scripts/venv scripts
	@PYTHONPATH=scripts:services/fanout .venv/bin/python -m login keys

token: ## Print a token: make token SUB=ann SUBSCRIBE='user:ann,news' [PUBLISH='chat*' DASHBOARD=1 EXP=1h]
	@scripts/venv scripts
	@PYTHONPATH=scripts:services/fanout .venv/bin/python -m login token

doctor: ## Check that this machine has what is needed
	@scripts/run/doctor

##@ Work on it
build: ## Build the images
	@docker compose build

test: ## Run all tests (PYTEST='-k name' for some)
	@scripts/venv tests
	@scripts/test

chaos: ## Run random faults on the real stack (FAULTS=20 SEED=7 ARGS='--set HISTORY_SIZE=0 --expect-loss')
	@scripts/venv scripts
	@PYTHONPATH=scripts:services/fanout .venv/bin/python -m chaos --faults "$${FAULTS:-20}" --seed "$${SEED:-$$(date +%s)}" $(ARGS)

abuse: ## Attack a separate stack in every way we know, and show what held (ARGS='--short', ARGS='--only HTTP')
	@scripts/venv scripts
	@PYTHONPATH=scripts:services/fanout .venv/bin/python -m abuse $(ARGS)

soak: ## Test the protocol under 2,000 random schedules of faults (EXAMPLES=1000 of each of two kinds)
	@scripts/venv tests
	@EXAMPLES="$${EXAMPLES:-1000}" .venv/bin/python -m pytest tests/integration/test_protocol.py

bench: ## Measure Fanout and its peers (MODE=short|full)
	@scripts/venv scripts
	@scripts/bench/run --mode "$${MODE:-short}"

stampede: ## Let 50 subscribers come back at once, and measure what live traffic notices
	@scripts/venv scripts
	@PYTHONPATH=scripts:services/fanout:services/subscriber .venv/bin/python -m chaos.stampede

crowd: ## Open 100,000 channels on one gateway, and measure what they weigh and how soon a message is there (MINUTES=1)
	@scripts/venv scripts
	@PYTHONPATH=scripts:services/fanout .venv/bin/python -m chaos.crowd

lint: ## Check code, shell, Dockerfiles and Compose files
	@scripts/venv tests
	@scripts/lint

lock: ## Update the hashed requirements (UPGRADE=1: to the newest versions)
	@scripts/venv tests
	@PATH="$(CURDIR)/.venv/bin:$$PATH" scripts/lock

clean: ## Remove what was created here: containers, data, images, .venv (SECRETS=1: passwords and keys too)
	@scripts/run/stack clean
