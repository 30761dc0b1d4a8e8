# Every target installs what it needs; a second run finds it there. `make` alone lists them.

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
SHELL := /bin/bash

bin := .venv/bin
stamp := .venv/.synced

ROUNDS ?= 20
SEED ?= 0
CLOUD ?= mosquitto
CUTS ?= 100
KILLS ?= 20
OUTAGE ?= 30
PROPERTIES = $(shell grep -lrE "@given|stateful" tests --include='test_*.py')

.PHONY: help venv peers demo test check fast slow lint format types search effects crash cut powercut diskfull bench drain offline compiled test-compiled sample clean py313 deb service-test hw install uninstall hw-qemu image image-test

help: ## this list
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

venv: $(stamp) ## .venv as uv.lock says

$(stamp): uv.lock pyproject.toml .ci/uv.txt
	@.ci/venv

demo: $(stamp) ## a simulated plant, the gateway and a cloud; ends with a ledger of every message
	@$(bin)/gateway demo

test: lint types peers ## everything: check, and the slow tests against real peers, which mostly wait, beside it
	@$(MAKE) -j2 -Oline fast slow

check: lint types fast ## what is green before every commit

fast: $(stamp) ## the tests that take less than a second each
	@$(bin)/pytest -q -m "not slow"

slow: peers ## the tests that take longer or start programs of other people
	@OUTAGE=$(OUTAGE) $(bin)/pytest -q -m slow

lint: $(stamp) ## ruff: rules and format
	@$(bin)/ruff check --quiet .
	@$(bin)/ruff format --check --quiet . || { $(bin)/ruff format --check .; exit 1; }

format: $(stamp) ## let ruff rewrite
	@$(bin)/ruff check --quiet --fix .
	@$(bin)/ruff format .

types: $(stamp) ## mypy --strict
	@$(bin)/mypy

peers: $(stamp) ## programs of other people for the slow tests: mosquitto, libmodbus, mqtt.js ...
	@.ci/peers

search: $(stamp) ## look for counterexamples of properties: other examples each time, and many
	@HYPOTHESIS_PROFILE=search $(bin)/pytest -q $(PROPERTIES)

effects: peers ## every key of the settings in a gateway that is deaf to it: the test that the table names must fail (half an hour)
	@PYTHONPATH=.:tests $(bin)/python -m effects.prove --jobs 2

crash: peers ## kill -9 the gateway ROUNDS times (20) under every kind of load; SEED repeats a run
	@PYTHONPATH=tests $(bin)/python -m e2e.crash.rounds --rounds $(ROUNDS) --seed $(SEED)
	@ROUNDS=$(ROUNDS) $(bin)/pytest -q tests/e2e/test_queues.py

cut: peers ## spoil the line to the cloud and kill both ends ROUNDS times (20) at 200 messages a second; CLOUD=nats, PACKED=lines|columns
	@PYTHONPATH=tests $(bin)/python -m e2e.uplink.rounds --rounds $(ROUNDS) --seed $(SEED) --cloud $(CLOUD) \
		$(if $(PACKED),--packed $(PACKED))

powercut: $(stamp) ## cut the power CUTS times under load, in a model of the disk (100); needs root and FUSE
	@CUTS=$(CUTS) $(bin)/pytest -q -s tests/e2e/test_powercut.py

diskfull: peers ## fill the disk under the gateway, let it fail, heal it; needs root, and FUSE for a part
	@$(bin)/pytest -q tests/e2e/test_full_disk.py tests/e2e/test_failing_disk.py

bench: $(stamp) ## numbers of this machine; writes nothing; fails at its end when a must is missed
	@missed=0; for name in footprint start broker neighbours "packing --socket"; do \
		PYTHONPATH=tests $(bin)/python -m benchmarks.$$name || missed=1; done; exit $$missed

drain: peers ## 100 000 stored rows to a mosquitto, beside plain gmqtt and paho; what 100 points cost on the wire
	@PYTHONPATH=tests $(bin)/python -m benchmarks.drain
	@PYTHONPATH=tests $(bin)/python -m benchmarks.uplink_bytes

offline: $(stamp) ## 7 days without the cloud in virtual time: quota, memory, coverage, alarms (minutes)
	@$(bin)/python -m benchmarks.offline

compiled: $(stamp) ## the wheel with the hot chain compiled by mypyc, unpacked in build/compiled
	@rm -rf build/wheel build/compiled
	@GATEWAY_COMPILE=1 $(bin)/uv build --quiet --wheel --python $(bin)/python --out-dir build/wheel
	@$(bin)/python -m zipfile -e build/wheel/*.whl build/compiled

test-compiled: compiled ## the fast tests of the hot chain on build/compiled
	@$(bin)/pytest -q -m "not slow" -o pythonpath="build/compiled tests" \
		tests/mqtt tests/broker tests/listeners tests/packing tests/uplinks tests/layout/test_compiled.py
	@$(bin)/pytest -q -o pythonpath="build/compiled tests" tests/layout/test_compiled.py

sample: $(stamp) ## write docs/gateway.sample.toml from the declared settings
	@$(bin)/gateway schema --sample > docs/gateway.sample.toml.new
	@mv docs/gateway.sample.toml.new docs/gateway.sample.toml

py313: $(stamp) ## the fast tests on Python 3.13, where there is one
	@.ci/py313

deb: $(stamp) ## a Debian package with everything inside, in dist/; VERSION=3.13 for Debian 13
	@packaging/deb

service-test: peers ## the package on Debian 12 and 13, booted with systemd-nspawn and without a network (root)
	@image/tools container
	@SERVICE_TEST=yes $(bin)/pytest -q -s tests/service

hw: $(stamp) ## the scenarios on a board: HOST=root@ADDRESS OPTIONS="--rs485 ..."; without HOST this machine plays the board
	@$(bin)/pytest -q -s hw-tests --host "$(HOST)" $(OPTIONS)

hw-qemu: peers ## the same against the image under QEMU, which plays board, outlet, switch and wire (root): OPTIONS="--cuts 20"
	@ARCH=$(or $(ARCH),amd64) image/tools vm
	@PACK=no BOARD=qemu ARCH=$(or $(ARCH),amd64) image/build
	@PYTHONPATH=tests $(bin)/python -m machine.hw build/image/qemu-$(or $(ARCH),amd64)/edge-gateway-*.img \
		--arch $(or $(ARCH),amd64) $(OPTIONS)

image: $(stamp) ## a flashable image in dist/ (root): BOARD=qemu|rpi ARCH=amd64|arm64 KEY=FILE; see docs/flashing.md
	@image/tools
	@BOARD=$(BOARD) ARCH=$(ARCH) KEY=$(KEY) image/build

image-test: peers ## build the image and go through its promises under QEMU (root; half an hour): KILLS=20 ARCH=amd64
	@ARCH=$(or $(ARCH),amd64) image/tools vm
	@PACK=no BOARD=qemu ARCH=$(or $(ARCH),amd64) image/build
	@PYTHONPATH=tests $(bin)/python -m machine.check build/image/qemu-$(or $(ARCH),amd64)/edge-gateway-*.img --kills $(KILLS) \
		--arch $(or $(ARCH),amd64) --work build/image/qemu-$(or $(ARCH),amd64) --key build/image/development.key

install: $(stamp) ## the gateway as a service on this Debian host (root); DESTDIR=FOLDER: only the files
	@DESTDIR=$(DESTDIR) packaging/install

uninstall: ## undo it; settings and state stay, unless PURGE=yes
	@DESTDIR=$(DESTDIR) packaging/install --remove $(if $(filter yes,$(PURGE)),--purge)

clean: ## remove what make made
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
