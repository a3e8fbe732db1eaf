# SPDX-License-Identifier: MIT
# What a developer or a user in a fresh clone types; `make` explains.
#
# PYTHON names the interpreter (a path, a command, or a version such as
# 3.12); without it, the newest CPython that is found is taken.  Everything
# is made under build/ and .venv/; nothing outside of this folder changes.

PORT ?= 9090
PYTHON ?=
PYTHONS ?=
T = http1_head
N = 60

# Prints the Python to use, or says what is missing, and ends the target.
CHOOSE = python=$$(tools/preflight.sh $(PYTHON)) || exit 1
# The build tools, in an environment of their own.
TOOLS = build/tools
USE_TOOLS = $(CHOOSE); \
	tools/venv.sh "$$python" $(TOOLS) -r tools/requirements.txt || exit 1
PROVE = $(CHOOSE); \
	exec "$$python" tools/run_tests.py $@ --tools $(TOOLS) "$$python"
MESON = PATH="$$PWD/$(TOOLS)/bin:$$PATH" meson
# A folder that was set up before is brought up to date: its Meson may have
# been another one.
AGAIN = $$([ ! -f $(1)/build.ninja ] || echo --reconfigure)

.PHONY: help run test check asan asan-quick soak ws-soak sigint fuzz-server \
	slow-peers differential fuzz fuzz-all fuzz-build asyncio bench \
	c-release format clean

help:
	@echo 'make run       serve examples/hello.py on http://localhost:$(PORT)'
	@echo '               (PORT=8080 changes it)'
	@echo 'make test      the whole test suite, on every CPython found'
	@echo '               (PYTHONS="3.11 3.13" chooses)'
	@echo 'make check     the quick part of it'
	@echo 'make asyncio   leave a runnable ./greenloop, and ./uwsgi as a link'
	@echo 'make asan      the suite with the extension under ASan and UBSan'
	@echo 'make asan-quick   the part of it that outside bytes reach'
	@echo 'make soak      a million requests: nothing may grow; minutes'
	@echo 'make ws-soak   10000 WebSockets, three minutes; then 15000 idle ones'
	@echo 'make sigint    300 stops under load, plain and under ASan; minutes'
	@echo 'make fuzz-server  10000 bad inputs, plain and under ASan; minutes'
	@echo 'make slow-peers   5000 peers of a byte a second disturb nobody'
	@echo 'make differential N=100000   N requests, read as other parsers do'
	@echo 'make fuzz T=$(T) N=$(N)   fuzz a parser for N seconds'
	@echo 'make fuzz-all N=600   fuzz every parser for N seconds, two at once'
	@echo 'make bench     compare with other servers, on this machine'
	@echo 'make format    lay out the sources as the rules say'
	@echo 'make clean     remove all that these targets made'
	@echo 'PYTHON=python3.12 chooses the interpreter, for every target.'

run:
	@$(CHOOSE); tools/venv.sh "$$python" .venv --install || exit 1; \
	echo 'Greenloop serves examples/hello.py on' \
	    'http://localhost:$(PORT) (Ctrl-C stops it).'; \
	exec .venv/bin/greenloop --http-socket localhost:$(PORT) \
	    --wsgi-file examples/hello.py

# The links keep the name by which the program is called: the script they
# lead to receives it as its own.
asyncio:
	@$(CHOOSE); tools/venv.sh "$$python" build/asyncio --install || exit 1; \
	ln -sf build/asyncio/bin/greenloop greenloop && \
	ln -sf greenloop uwsgi && \
	echo './greenloop is ready, and ./uwsgi is a link to it.'

test:
	@$(USE_TOOLS); all= ; \
	if [ -z "$(PYTHONS)" ]; then \
	    all=$$(tools/preflight.sh --all) || exit 1; \
	else \
	    for name in $(PYTHONS); do \
	        one=$$(tools/preflight.sh "$$name") || exit 1; \
	        all="$$all $$one"; \
	    done; \
	fi; \
	exec "$$python" tools/run_tests.py whole --tools $(TOOLS) $$all

check:
	@$(USE_TOOLS); \
	exec "$$python" tools/run_tests.py check --tools $(TOOLS) "$$python"

asan:
	@$(PROVE)

asan-quick:
	@$(PROVE)

soak:
	@$(PROVE)

ws-soak:
	@$(PROVE)

sigint:
	@$(PROVE)

fuzz-server:
	@$(PROVE)

slow-peers:
	@$(PROVE)

differential: N = 100000
differential:
	@$(CHOOSE); \
	tools/venv.sh "$$python" build/proof -r tests/requirements.txt \
	    --install || exit 1; \
	exec build/proof/bin/python tests/isolated/differential.py --count $(N)

# Every target, with libFuzzer, ASan and UBSan.
fuzz-build:
	@command -v clang >/dev/null || { \
	    echo 'Fuzzing needs clang with libFuzzer: install it, on Debian' \
	        'with `apt-get install clang`.' >&2; exit 1; }
	@$(USE_TOOLS); \
	CC=clang $(MESON) setup build/fuzz $(call AGAIN,build/fuzz) \
	    --buildtype=debugoptimized -Dextension=false -Dfuzzers=true \
	    -Db_ndebug=false -Db_lundef=false -Db_sanitize=address,undefined \
	    -Dc_args=-fsanitize=fuzzer-no-link || exit 1; \
	$(MESON) compile -C build/fuzz

fuzz: fuzz-build
	@mkdir -p build/fuzz-corpus/$(T) && \
	exec build/fuzz/fuzz/fuzz_$(T) -max_total_time=$(N) \
	    -artifact_prefix=build/fuzz-corpus/ \
	    build/fuzz-corpus/$(T) fuzz/corpus/$(T)

fuzz-all: N = 600
fuzz-all: fuzz-build
	@$(CHOOSE); exec "$$python" tools/fuzz_all.py build/fuzz --seconds $(N)

# The C-only servers, as fast as they get: floors of the benchmark.
c-release:
	@$(USE_TOOLS); \
	$(MESON) setup build/c-release $(call AGAIN,build/c-release) \
	    --buildtype=release -Doptimization=2 -Dextension=false \
	    -Dprograms=true || exit 1; \
	$(MESON) compile -C build/c-release hello_server ws_echo_server

bench: c-release
	@$(CHOOSE); tools/venv.sh "$$python" build/bench-venv --install \
	    && build/bench-venv/bin/python bench/run.py --setup \
	    && exec build/bench-venv/bin/python bench/run.py

format:
	@$(USE_TOOLS); \
	find src tests fuzz bench -name '*.[ch]' \
	    -exec $(TOOLS)/bin/clang-format -i {} +; \
	$(TOOLS)/bin/ruff check --quiet --select I --fix .; \
	$(TOOLS)/bin/ruff format --quiet .

clean:
	rm -rf build .venv .mesonpy-* greenloop uwsgi
