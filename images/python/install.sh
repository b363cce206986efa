#!/bin/sh
# install.sh NAME: installs what /mnt/requirements.txt says into /opt/server, and prints the package's commands.
set -eu
python3 -m venv --without-pip /opt/server
pip --quiet --python /opt/server/bin/python install \
  --no-deps --only-binary=:all: --require-hashes --requirement /mnt/requirements.txt >&2
cp /mnt/requirements.txt /opt/server
exec /opt/server/bin/python -I /mnt/python/commands.py "$1"
