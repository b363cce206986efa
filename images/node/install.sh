#!/bin/sh
# install.sh NAME: installs what /mnt/package-lock.json says into /opt/server, and prints the package's commands.
set -eu
cp /mnt/package.json /mnt/package-lock.json /opt/server
cd /opt/server
npm ci --omit=dev >&2
mkdir -p node_modules/.bin
ln -s node_modules/.bin bin
exec node /mnt/node/commands.js "$1"
