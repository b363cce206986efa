#!/bin/sh
# Prints the URLs of what apt would ask its mirrors for. Needs no network.
set -eu
apt-get update --print-uris | sed -n "s/^'\([^']*\)'.*/\1/p"
