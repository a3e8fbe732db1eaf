#!/bin/sh
# SPDX-License-Identifier: MIT
# Installs, on Debian, the programs that building and the tests use.  Does
# nothing where all of them are there; as another user than root it asks
# sudo.

set -eu

missing=

# want PACKAGE CHECK...: notes the package unless the check succeeds.
want() {
    package=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $package"
}

has_c_library() {
    echo '#include <stdio.h>' | cc -E -x c -
}

has_headers() {
    header=$(/usr/bin/python3 -c 'import sysconfig
print(sysconfig.get_paths()["include"] + "/Python.h")')
    test -f "$header"
}

want gcc command -v cc                      # compiles
want libc6-dev has_c_library                # its headers
want make command -v make                   # runs the Makefile
want python3 test -x /usr/bin/python3       # Debian's own CPython
want python3-dev has_headers                # Python.h
want python3-venv /usr/bin/python3 -c 'import ensurepip, venv'
want curl command -v curl                   # a client of the tests

if [ -z "$missing" ]; then
    exit 0
fi
as_root=
if [ "$(id -u)" -ne 0 ]; then
    as_root=sudo
fi
echo "installing:$missing"
$as_root apt-get update -q
# The names are split on purpose.
# shellcheck disable=SC2086
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y \
    --no-install-recommends $missing
