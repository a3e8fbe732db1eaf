#!/bin/sh
# SPDX-License-Identifier: MIT
# Makes or brings up to date a virtual environment.
#
#   tools/venv.sh PYTHON FOLDER [-r REQUIREMENTS]... [--install [SETUP]...]
#
# --install also builds and installs this source tree, SETUP being options
# for `meson setup`, as -Dwerror=true.  What has not changed since the last
# call is not done again.  Paths are relative to the current folder.

set -eu

python=$1
folder=$2
shift 2
root=$(cd "$(dirname "$0")/.." && pwd)

pip() {
    "$folder/bin/python" -m pip --disable-pip-version-check "$@"
}

# The names and bytes of all that an installed package is made from.
source_sum() {
    (cd "$root" && find src python meson.build meson.options \
        pyproject.toml -type f ! -name '*.pyc' -exec cksum {} +) | sort | cksum
}

# True if the file $1 holds the text $2.
same() {
    [ -f "$1" ] && [ "$(cat "$1")" = "$2" ]
}

make_venv() {
    want=$("$python" -c 'import sys; print(sys.base_prefix, sys.version)')
    stamp=$folder/made-from
    if same "$stamp" "$want" && [ -x "$folder/bin/python" ]; then
        return
    fi
    rm -rf "$folder"
    "$python" -m venv "$folder"
    # Older ones take only the last of several --config-settings.
    pip install --quiet --upgrade 'pip>=23.1'
    echo "$want" >"$stamp"
}

require() {
    stamp=$folder/has-$(echo "$1" | tr / -)
    want=$(cksum <"$1")
    if ! same "$stamp" "$want"; then
        # Few of their modules are used: those are compiled when they are.
        pip install --quiet --no-compile --upgrade -r "$1"
        echo "$want" >"$stamp"
    fi
}

install_tree() {
    stamp=$folder/has-greenloop
    want="$(source_sum) $*"
    if same "$stamp" "$want"; then
        return
    fi
    rm -f "$stamp"
    for option in "$@"; do
        shift
        set -- "$@" "--config-settings=setup-args=$option"
    done
    # The version stays the same from build to build: without the first
    # command the second would find nothing to do.
    if pip show --quiet greenloop 2>/dev/null; then
        pip uninstall --quiet --yes greenloop
    fi
    pip install --quiet "$@" "$root"
    echo "$want" >"$stamp"
}

make_venv
while [ $# -gt 0 ]; do
    case $1 in
    -r)
        require "$2"
        shift 2
        ;;
    --install)
        shift
        install_tree "$@"
        break
        ;;
    *)
        echo "tools/venv.sh: unknown argument $1" >&2
        exit 2
        ;;
    esac
done
