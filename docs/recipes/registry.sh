#!/bin/sh
# A registry of services: who is alive is listed, who dies is gone.
#
# An instance puts its address under the service's prefix, on a lease that it keeps alive. Clients list the prefix, then
# watch from the revision behind that list, so that nothing between the two is missed.
set -eu

register() { # instance, address: prints the lease
    lease=$(etcdctl lease grant 5 | cut -d ' ' -f 2)
    etcdctl put "recipes/registry/web/$1" "$2" --lease="$lease" > /dev/null
    echo "$lease"
}
a=$(register a 10.0.0.1:80)
b=$(register b 10.0.0.2:80)
etcdctl lease keep-alive "$a" > /dev/null &
alive=$!
echo "registered:" $(etcdctl get --prefix recipes/registry/web/ --print-value-only)

revision=$(etcdctl get --prefix recipes/registry/web/ -w fields | sed -n 's/^"Revision" : //p')
etcdctl watch --prefix recipes/registry/web/ --rev=$((revision + 1)) > watched.txt &
watch=$!
# The second one dies: nobody keeps its lease alive.
until [ -z "$(etcdctl get recipes/registry/web/b)" ]; do sleep 0.2; done
echo "alive:" $(etcdctl get --prefix recipes/registry/web/ --print-value-only)
until grep -q . watched.txt; do sleep 0.1; done
echo "watched:" $(cat watched.txt)
kill $alive $watch
etcdctl lease revoke "$a" > /dev/null
etcdctl lease revoke "$b" > /dev/null 2>&1 || true
