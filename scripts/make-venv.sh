#!/bin/sh
# Makes a virtual environment with pip: scripts/make-venv.sh FOLDER
#
# Python is the first of $PYTHON, python3, python3.13, python3.12, python3.11 that is of a supported version. Debian's
# python3 comes without the pip that fills a new environment; it is then taken out of Debian's package archive into the
# environment, and nothing is installed on the system.
set -eu

folder=${1:?usage: scripts/make-venv.sh FOLDER}

supported() {
    command -v "$1" >/dev/null 2>&1 &&
        "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

python=
for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11; do
    if supported "$candidate"; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "expected Python 3.11, 3.12 or 3.13, found $(python3 --version 2>&1 || echo none): set PYTHON=/path/to/python3" >&2
    exit 1
fi

if "$python" -c 'import ensurepip' 2>/dev/null; then
    exec "$python" -m venv --clear "$folder"
fi
if "$python" -c 'import virtualenv' 2>/dev/null; then
    exec "$python" -m virtualenv --quiet --clear "$folder"
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

advice() {
    echo "$python has neither ensurepip nor virtualenv: install one first (on Debian: apt-get install python3-venv)" >&2
    exit 1
}

# Unpacks Debian packages into $scratch/unpacked. An image without package lists gets its own in the scratch folder.
unpack() (
    cd "$scratch"
    if ! apt-get -qq download "$@" 2>/dev/null; then
        mkdir -p lists/partial
        apt-get -qq -o Dir::State::lists="$scratch/lists" update 2>/dev/null
        apt-get -qq -o Dir::State::lists="$scratch/lists" download "$@" 2>/dev/null
    fi
    for package in ./*.deb; do
        dpkg-deb -x "$package" unpacked
    done
)

command -v apt-get >/dev/null 2>&1 && command -v dpkg-deb >/dev/null 2>&1 || advice
echo "$python has no ensurepip: taking pip from Debian's package archive" >&2
unpack python3-pip-whl ca-certificates || advice
pip=$(echo "$scratch"/unpacked/usr/share/python-wheels/pip-*.whl)
"$python" -m venv --clear --without-pip "$folder"
"$folder/bin/python" "$pip/pip" install --quiet --no-index "$pip"
if [ ! -e /etc/ssl/certs/ca-certificates.crt ]; then
    # Debian's pip trusts the system's certificates; here there are none.
    cat "$scratch"/unpacked/usr/share/ca-certificates/mozilla/*.crt >"$folder/certificates.pem"
    printf '[global]\ncert = %s\n' "$(cd "$folder" && pwd)/certificates.pem" >"$folder/pip.conf"
fi
