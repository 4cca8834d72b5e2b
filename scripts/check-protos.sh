#!/bin/sh
# Checks the contracts: style, comments, and that callers of the last release still understand them.
#
#   scripts/check-protos.sh            lint, and compare with protos/released.yaml
#   scripts/check-protos.sh --release  from now on compare with the contracts as they are
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
scripts/buf.sh lint protos
if [ "${1:-}" = --release ]; then
    scripts/buf.sh build protos --exclude-source-info --output protos/released.yaml
else
    scripts/buf.sh breaking protos --against protos/released.yaml
fi
