#!/bin/sh
# Runs buf (https://buf.build) from npm: scripts/buf.sh ARGUMENTS
#
# It is fetched once into $XDG_CACHE_HOME/maquette (by default ~/.cache/maquette), with its version in the name. Exit
# status 3: there is neither Node.js nor an earlier copy.
set -eu

version=1.75.0
cache=${XDG_CACHE_HOME:-$HOME/.cache}/maquette
buf=$cache/buf-$version/node_modules/.bin/buf

command -v node >/dev/null 2>&1 || { echo "buf needs node, and it is not installed" >&2; exit 3; }
if [ ! -x "$buf" ]; then
    command -v npm >/dev/null 2>&1 || { echo "fetching buf needs npm, and it is not installed" >&2; exit 3; }
    mkdir -p "$cache"
    scratch=$(mktemp -d "$cache/.fetching-XXXXXX")
    trap 'rm -rf "$scratch"' EXIT
    trap 'exit 1' HUP INT TERM
    npm install --no-audit --no-fund --loglevel=error --prefix "$scratch" "@bufbuild/buf@$version" >/dev/null
    [ -x "$buf" ] || mv "$scratch" "$cache/buf-$version" # another run may have been quicker
fi
"$buf" "$@"
