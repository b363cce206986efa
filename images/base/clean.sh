#!/bin/sh
# What no image holds: setuid and setgid bits, caches, package lists, documentation, histories, keys, and anything that
# tells of the machine that built it.
set -eu

find / -xdev -perm /6000 ! -type l -exec chmod ug-s {} +

# The mirrors are the host's where it gave any; an image that came from a registry keeps its own otherwise.
if [ -e /mnt/sources.list ]; then
  rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/* /etc/apt/apt.conf.d/99mmdebstrap
fi
rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/* /var/lib/dpkg/*-old /var/backups/* /var/tmp/*
rm -rf /usr/share/doc/* /usr/share/man/* /usr/share/info/* /usr/share/locale/* /usr/share/lintian
rm -rf /etc/ssh /root/.ssh /root/.cache /root/.npm /root/.config /root/.gitconfig
find /root /home -name '.*history' -delete
rm -f /var/lib/dbus/machine-id /etc/passwd- /etc/group- /etc/shadow- /etc/gshadow- /etc/.pwd.lock

# A machine's id is empty, not absent: systemd's tools then read "not set" and make none up. The other two are written
# by the engine at every start.
: >/etc/machine-id
: >/etc/resolv.conf 2>/dev/null || true
: >/etc/hostname 2>/dev/null || true
