#!/bin/sh
# /mnt/input is what fetch.sh printed.
set -eu
tar --extract --file=/mnt/input --directory=/usr/local
ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm
ln -s ../lib/node_modules/npm/bin/npx-cli.js /usr/local/bin/npx
node --version >&2
npm --version >&2
