#!/bin/sh
# lock.sh NAME VERSION: prints pip's report of what it would install, with every file's hash. Wheels only: to build
# another kind, pip fetches build tools that no lock names, and runs them.
set -eu
pip --quiet install --dry-run --ignore-installed --only-binary=:all: --report /tmp/report "$1==$2" >&2
cat /tmp/report
