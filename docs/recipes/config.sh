#!/bin/sh
# Configuration that is read once and again whenever it changes.
#
# A reader takes all of it at one revision, and watches from the next. Several keys that belong together are changed in one
# txn, so that no reader sees one without the other.
set -eu

read_config() { etcdctl get --prefix recipes/config/ --print-value-only | paste -s -d ' '; }
etcdctl txn > /dev/null <<'TXN'

put recipes/config/db/host one
put recipes/config/db/port 1


TXN
echo "read: $(read_config)"
revision=$(etcdctl get recipes/config/db/host -w fields | sed -n 's/^"Revision" : //p')
# One command for each change; here it says what there is to read again.
etcdctl watch --prefix recipes/config/ --rev=$((revision + 1)) -- sh -c 'echo changed' > changes.txt &
watch=$!
etcdctl txn > /dev/null <<'TXN'

put recipes/config/db/host two
put recipes/config/db/port 2


TXN
until grep -q changed changes.txt; do sleep 0.1; done
echo "read again: $(read_config)"
kill $watch
