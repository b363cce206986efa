#!/bin/sh
# newest.sh NAME: prints the newest version of a package that runs on this Python.
set -eu
pip --quiet install --dry-run --ignore-installed --no-deps --only-binary=:all: --report /tmp/report "$1" >&2
python3 -c 'import json; print(json.load(open("/tmp/report"))["install"][0]["metadata"]["version"])'
