#!/bin/sh
# Prints the lock of /mnt/package.json: every package, its version and its integrity hash, and no address.
set -eu
cp /mnt/package.json /tmp
cd /tmp
npm install --package-lock-only --ignore-scripts --omit=dev --omit-lockfile-registry-resolved >&2
cat package-lock.json
