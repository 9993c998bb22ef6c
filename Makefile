# Every command a person types. `make` prints them.
.DEFAULT_GOAL := help
.PHONY: help up dev down logs ps scale send doctor build test lint lock clean
export SUBSCRIBERS LAYERS RUNTIME DETACH CHANNEL DATA

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
logs: ## Follow the logs
	@scripts/stack logs

ps: ## What runs, and how it is
	@scripts/stack ps

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

lint: ## Check code, shell, Dockerfiles and Compose files
	@scripts/venv tests
	@scripts/lint

lock: ## Renew the hashed requirements
	@scripts/venv tests
	@PATH="$(CURDIR)/.venv/bin:$$PATH" scripts/lock

clean: ## Remove what was made here: containers, data, images, .venv
	@scripts/stack clean
