#!/bin/sh
# SPDX-License-Identifier: MIT
# Checks what building needs, and prints the Python to build with.
#
#   tools/preflight.sh            the newest CPython that can build Greenloop
#   tools/preflight.sh NAME       this one: a path, a command, or "3.12"
#   tools/preflight.sh --all      every one, a line each, the oldest first
#
# What is missing is said in one sentence on standard error, with status 1.
# Candidates are the python3.N and python3 of PATH, and what the command
# pyenv knows, if there is one.

set -eu

here=$(cd "$(dirname "$0")" && pwd)
probe=$here/python_probe.py

fail() {
    echo "Greenloop needs $1" >&2
    exit 1
}

check_compiler() {
    cc=${CC:-}
    for name in cc gcc clang; do
        if [ -z "$cc" ] && command -v "$name" >/dev/null 2>&1; then
            cc=$name
        fi
    done
    [ -n "$cc" ] || fail "a C compiler: install one, on Debian with \
\`apt-get install gcc libc6-dev\`."
    # $cc may carry options, as CC="gcc -m64" does: it is split on purpose.
    # shellcheck disable=SC2086
    echo '#include <stdio.h>' | $cc -E -x c - >/dev/null 2>&1 ||
        fail "a working C compiler: \`$cc\` does not find <stdio.h>; on \
Debian \`apt-get install gcc libc6-dev\` installs both."
}

# Prints "minor verdict executable", or nothing if it does not run.
ask() {
    "$1" "$probe" 2>/dev/null || true
}

# pyenv looks for its versions under HOME; where HOME is another one than
# that of its owner, they are beside the command itself.
ask_pyenv() {
    command -v pyenv >/dev/null 2>&1 || return 0
    root=$(pyenv root)
    if [ ! -d "$root/versions" ]; then
        root=$(dirname "$(dirname "$(readlink -f "$(command -v pyenv)")")")
        [ -d "$root/versions" ] || root=$(dirname "$root")
    fi
    PYENV_ROOT=$root pyenv versions --bare 2>/dev/null |
        while IFS= read -r version; do
            echo "$root/versions/$version/bin/python"
        done
}

candidates() {
    echo "$PATH" | tr ':' '\n' | while IFS= read -r folder; do
        for file in "$folder"/python3.[0-9] "$folder"/python3.[0-9][0-9] \
            "$folder"/python3; do
            [ ! -x "$file" ] || echo "$file"
        done
    done
    ask_pyenv
}

# Prints one line for each minor version, the oldest first: the first
# candidate that lacks nothing, or else the first one.
survey() {
    candidates | while IFS= read -r file; do
        ask "$file"
    done | grep -v ' old ' | awk '
        $2 == "kind" { next }
        !($1 in line) || (verdict[$1] != "ok" && $2 == "ok") {
            line[$1] = $0
            verdict[$1] = $2
        }
        END { for (minor in line) print line[minor] }
    ' | sort -t. -k2,2n
}

# Prints the executable of "minor verdict executable", or the sentence.
accept() {
    minor=${1%% *}
    rest=${1#* }
    file=${rest#* }
    case ${rest%% *} in
    ok) echo "$file" ;;
    old) fail "CPython 3.10 or newer, and $file is $minor: install one, on \
Debian with \`apt-get install python3 python3-dev python3-venv\`, or name \
another with \`make PYTHON=python3.12 ...\`." ;;
    kind) fail "an ordinary CPython, and $file is another kind of Python: \
name another with \`make PYTHON=python3.12 ...\`." ;;
    headers) fail "the headers of this Python ($file): install them, on \
Debian with \`apt-get install python3-dev\`." ;;
    venv) fail "the venv module of this Python ($file): install it, on \
Debian with \`apt-get install python3-venv\`." ;;
    esac
}

# A name that does not run may be a version which pyenv has but PATH hides.
by_name() {
    found=$(ask "$1")
    if [ -z "$found" ]; then
        minor=${1#python}
        found=$(survey | awk -v minor="$minor" '$1 == minor')
    fi
    [ -n "$found" ] || fail "a Python that runs, and \`$1\` does not: \
install it, or leave out PYTHON= to take the newest that is found."
    accept "$found"
}

newest() {
    found=$(survey)
    best=$(echo "$found" | awk '$2 == "ok"' | tail -n 1)
    [ -n "$best" ] || best=$(echo "$found" | tail -n 1)
    [ -n "$best" ] || fail "CPython 3.10 or newer: install it, on Debian \
with \`apt-get install python3 python3-dev python3-venv\`."
    accept "$best"
}

every() {
    newest >/dev/null
    survey | while IFS= read -r line; do
        (accept "$line") || echo "(left out)" >&2
    done
}

check_compiler
case ${1:-} in
--all) every ;;
"") newest ;;
*) by_name "$1" ;;
esac
