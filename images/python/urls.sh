#!/bin/sh
# urls.sh [NAME]: prints the URLs of pip's indexes, which needs no network; and of the hosts that have a package's files.
exec python3 -I /mnt/python/urls.py "$@"
