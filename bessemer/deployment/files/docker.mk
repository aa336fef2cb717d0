# Images, the cluster of containers on this machine, and jobs. A Makefile that includes this sets:
#   IMAGE   name of the images
#   READY   targets that must be there before Bessemer is called
#   WHOSE   options that name the project for `bessemer cluster`, or nothing
#   BESSEMER, PROJECT, ARGS
# Written by `bessemer cluster render`; the same for every project.

# The network that a build may use; OFFLINE=1: none, everything comes out of wheelhouse/.
NETWORK ?= host
# Build of PyTorch: cpu, or a version of CUDA such as cu128.
TORCH ?= cpu
BASE ?= python:3.11-slim-bookworm
DOCKER_BUILD = docker build --network $(if $(OFFLINE),none,$(NETWORK)) --build-arg TORCH=$(TORCH) \
	$(if $(OFFLINE),--build-arg PIP_NO_INDEX=1) --file docker/Dockerfile

.PHONY: engine build build-dev wheelhouse deploy deploy-down cluster-drill logs render submit jobs

engine:
	@docker info >/dev/null 2>&1 || { echo "error: no Docker engine answers on this machine" >&2; exit 2; }

build: engine $(READY) ## Build the images of nodes and of MLflow (TORCH=cu128, OFFLINE=1)
	@$(DOCKER_BUILD) --target runtime --tag $(IMAGE):latest .
	@$(DOCKER_BUILD) --target mlflow --tag $(IMAGE):mlflow-latest .

build-dev: build ## Build the image that has the tools to test with
	@$(DOCKER_BUILD) --target dev --tag $(IMAGE):dev-latest .

wheelhouse: engine ## Download all that `make build OFFLINE=1` needs, for the image's own platform
	@mkdir -p wheelhouse
	@docker run --rm --network $(NETWORK) --user "$$(id -u):$$(id -g)" --env HOME=/tmp \
		--volume "$(CURDIR):/project" --workdir /project $(BASE) sh -ec \
		'grep -hvE "^(torch|bessemer)==" requirements.lock requirements-dev.lock > /tmp/rest.txt; \
		python -m pip download --quiet --only-binary :all: --no-deps --dest wheelhouse --retries 2 \
			--extra-index-url https://download.pytorch.org/whl/$(TORCH) \
			"$$(grep -oE "^torch==[0-9.]+" requirements.lock)"; \
		python -m pip download --quiet --only-binary :all: --no-deps --dest wheelhouse \
			--requirement /tmp/rest.txt'
	@echo "wheelhouse: $$(ls wheelhouse | wc -l) files, $$(du -sh wheelhouse | cut -f1)"

deploy: $(READY) ## Start the Ray cluster and MLflow of docker/compose.yaml on this machine
	@$(BESSEMER) cluster up $(WHOSE) $(ARGS)

deploy-down: $(READY) ## Remove that cluster, its network and its volumes (ARGS=--keep leaves the volumes)
	@$(BESSEMER) cluster down $(WHOSE) $(ARGS)

logs: $(READY) ## Show what the containers of that cluster print (ARGS="--follow head")
	@$(BESSEMER) cluster logs $(WHOSE) $(ARGS)

submit: $(READY) ## Train on a cluster (CLUSTER=compose)
	@$(BESSEMER) submit train --project $(PROJECT) $(if $(CLUSTER),--cluster $(CLUSTER)) $(ARGS)

jobs: $(READY) ## List the jobs of a cluster (CLUSTER=compose)
	@$(BESSEMER) jobs list $(if $(CLUSTER),--cluster $(CLUSTER)) $(ARGS)

cluster-drill: build-dev ## Kill, cut off and restart nodes of a cluster of containers; no number may change
	@$(BESSEMER) cluster drill --project $(PROJECT) --image $(IMAGE):latest $(ARGS)

render: $(READY) ## Write docker/ and cluster/ again from the settings (ARGS=--check only compares)
	@$(BESSEMER) cluster render $(WHOSE) $(ARGS)
