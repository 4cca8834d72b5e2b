#!/bin/sh
# Installs the Debian packages that the whole test suite uses and that are absent. The main job needs none of them: the
# libraries are Open3D's (see maquette/doctor.py), Node.js runs the glTF validator and checks the contracts, the tests
# start PostgreSQL servers of their own, and Go builds their MinIO server (scripts/minio.sh).
set -eu

libraries="libusb-1.0-0 libgl1 libegl1 libx11-6 libudev1 libgomp1"

wanted=
for package in $libraries; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || wanted="$wanted $package"
done
command -v make >/dev/null 2>&1 || wanted="$wanted make"
command -v python3 >/dev/null 2>&1 || wanted="$wanted python3 python3-venv"
command -v npm >/dev/null 2>&1 || wanted="$wanted nodejs npm"
command -v go >/dev/null 2>&1 || wanted="$wanted golang-go"
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null 2>&1 || wanted="$wanted postgresql"
if [ -z "$wanted" ]; then
    exit 0
fi

as_root=
if [ "$(id -u)" -ne 0 ]; then
    as_root=sudo
fi
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get -qq update
# Unquoted: one word a package.
$as_root apt-get -qq install -y --no-install-recommends $wanted >/dev/null
