#!/bin/sh
# A barrier: everybody waits until it is taken away.
#
# It is a key. Who comes looks whether it is there and watches from the revision of that look, so that it does not wait for
# a removal that has been.
set -eu

etcdctl put recipes/barrier held > /dev/null
pass() { # name
    look=$(etcdctl get recipes/barrier -w fields)
    revision=$(echo "$look" | sed -n 's/^"Revision" : //p')
    if echo "$look" | grep -q '^"Value"'; then
        etcdctl watch recipes/barrier --rev=$((revision + 1)) > "barrier.$1" &
        watch=$!
        until grep -q DELETE "barrier.$1"; do sleep 0.1; done
        kill $watch
    fi
    etcdctl put "recipes/passed/$1" yes > /dev/null
}
pass one &
pass two &
sleep 0.5
echo "before: $(etcdctl get --prefix recipes/passed/ --keys-only | grep -c . || true)"
etcdctl del recipes/barrier > /dev/null
wait
pass late
echo "after: $(etcdctl get --prefix recipes/passed/ --keys-only | grep -c . || true)"
