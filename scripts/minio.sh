#!/bin/sh
# Prints the path of a MinIO server, which it builds first where there is none yet: scripts/minio.sh
#
# The server is published as source only, so Go's own module proxy provides it (some four minutes, once). The result lies
# in $XDG_CACHE_HOME/maquette (by default ~/.cache/maquette) with its version in the name. MINIO=/path/to/minio names
# another server and builds nothing. Exit status 3: there is neither a server nor Go.
set -eu

version=v0.0.0-20260212201848-7aac2a2c5b7c # the last commit before the repository was archived

if [ -n "${MINIO:-}" ]; then
    [ -x "$MINIO" ] || { echo "expected an executable at MINIO=$MINIO" >&2; exit 1; }
    echo "$MINIO"
    exit
fi

cache=${XDG_CACHE_HOME:-$HOME/.cache}/maquette
server=$cache/minio-$version
if [ ! -x "$server" ]; then
    if ! command -v go >/dev/null 2>&1; then
        echo "no MinIO server at $server and no Go to build it with: install Go 1.24 or newer, or set MINIO" >&2
        exit 3
    fi
    mkdir -p "$cache"
    scratch=$(mktemp -d "$cache/.building-XXXXXX")
    trap 'rm -rf "$scratch"' EXIT
    trap 'exit 1' HUP INT TERM
    echo "building MinIO $version into $server (some minutes, once)" >&2
    GOBIN=$scratch GOFLAGS= CGO_ENABLED=0 nice -n 15 \
        go install -trimpath -ldflags='-s -w' "github.com/minio/minio@$version" >&2
    mv "$scratch/minio" "$server"
fi
echo "$server"
