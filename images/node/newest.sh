#!/bin/sh
# newest.sh NAME: prints the newest version of a package.
set -eu
cd /tmp
npm view "$1" version
