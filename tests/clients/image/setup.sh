#!/bin/sh
# The programs of openssh-client without the package: it has a setuid file, which no build container may unpack.
set -eu
cd /tmp
apt-get --quiet download openssh-client >&2
dpkg-deb --fsys-tarfile openssh-client_*.deb |
  tar --extract --directory / ./usr/bin/ssh ./usr/bin/scp ./usr/bin/sftp ./usr/bin/ssh-keygen
