#!/bin/sh
# The layout that the runner counts on: a user, and folders that are there already when a sandbox mounts over them.
set -eu
echo 'bulkhead:x:65532:' >>/etc/group
echo 'bulkhead:x:65532:65532::/home/bulkhead:/usr/sbin/nologin' >>/etc/passwd
mkdir -p /home/bulkhead /work /opt/server /run/secrets
chown 65532:65532 /home/bulkhead /work /opt/server
