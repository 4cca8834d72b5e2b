#!/bin/sh
# Generates the Python stubs of the contracts: scripts/make-protos.sh [FOLDER]
#
# They go into FOLDER/maquette/v1; without FOLDER into this checkout, where they are committed. The path of a .proto
# below protos/ is that of its package, so that the generated imports work as they are. $PYTHON names the Python that
# has grpcio-tools and mypy-protobuf; by default it is that of .venv.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
out=${1:-$root}
python=${PYTHON:-$root/.venv/bin/python}
tools=$("$python" -c 'import sysconfig; print(sysconfig.get_path("scripts"))')

mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$root/protos"
generate() {
    "$python" -m grpc_tools.protoc --proto_path=. \
        --plugin=protoc-gen-mypy="$tools/protoc-gen-mypy" --plugin=protoc-gen-mypy_grpc="$tools/protoc-gen-mypy_grpc" "$@"
}
generate --python_out="$out" --mypy_out=quiet:"$out" maquette/v1/*.proto
# shellcheck disable=SC2046 # names of contracts have no spaces
generate --grpc_python_out="$out" --mypy_grpc_out=quiet:"$out" $(grep -l '^service ' maquette/v1/*.proto)
