#!/bin/sh
# Runs as root in the build container of every image: build.sh NAME PACKAGE...
# /mnt holds the folders of the recipe and of its parents, and what the host passes on. It never stays in the image.
set -eu
name=$1
shift

missing=$(for package in "$@"; do
  dpkg-query --show --showformat '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || echo "$package"
done)
if [ -n "$missing" ]; then
  apt-get --quiet update >&2
  # shellcheck disable=SC2086 # names of packages, one a word
  apt-get --quiet --yes --no-install-recommends install $missing >&2
fi
if [ -e "/mnt/$name/setup.sh" ]; then
  sh "/mnt/$name/setup.sh"
fi
sh /mnt/base/clean.sh
