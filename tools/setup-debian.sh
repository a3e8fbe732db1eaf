#!/bin/sh
# SPDX-License-Identifier: MIT
# Installs, on Debian, the programs that building and the tests use.  Does
# nothing where all of them are there; as another user than root it asks
# sudo.  The tests start their own nginx, HAProxy, Redis and PostgreSQL: where
# the packages start one as a service, it is stopped again, and stays so.

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

# Debian keeps the server's programs out of PATH.
has_postgresql() {
    command -v postgres && command -v initdb ||
        ls /usr/lib/postgresql/*/bin/postgres
}

# Where users have no /usr/sbin in their PATH.
has_nginx() {
    command -v nginx || test -x /usr/sbin/nginx
}

# as_root COMMAND...: runs it as root.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

# Stops the service that came with a package just installed.
stop_service() {
    case " $missing " in
    *" $1 "*)
        # Fails harmlessly where nothing was started, as in a container.
        as_root service "$1" stop >/dev/null 2>&1 || true
        as_root update-rc.d "$1" disable >/dev/null 2>&1 || true
        ;;
    esac
}

want gcc command -v cc                      # compiles
want libc6-dev has_c_library                # its headers
want make command -v make                   # runs the Makefile
want python3 test -x /usr/bin/python3       # Debian's own CPython
want python3-dev has_headers                # Python.h
want python3-venv /usr/bin/python3 -c 'import ensurepip, venv'
want curl command -v curl                   # a client of the tests
want haproxy command -v haproxy             # a proxy before the server
want nginx has_nginx                        # the proxy before the server
want openssl command -v openssl             # another one, and TLS
want redis-server command -v redis-server   # the chat's other end
want postgresql has_postgresql              # that of the database page
want systemd command -v systemd-socket-activate # passes sockets on
want chromium command -v chromium           # a browser, and what drives it
want chromium-driver command -v chromedriver

if [ -z "$missing" ]; then
    exit 0
fi
echo "installing:$missing"
as_root apt-get update -q
# The names are split on purpose.
# shellcheck disable=SC2086
as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y \
    --no-install-recommends $missing
stop_service haproxy
stop_service redis-server
stop_service postgresql
stop_service nginx
