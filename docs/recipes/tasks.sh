#!/bin/sh
# Tasks for several workers: each is done by one, and done again by another if that one dies.
#
# A worker claims a task by a key on its lease, in a txn that lets only the first one have it. When it is done, claim and
# task go together; when the worker dies, its claim goes with the lease and the task is free again.
set -eu

for n in 1 2; do etcdctl put "recipes/tasks/todo/$n" "task $n" > /dev/null; done
claim() { # task, worker, lease
    etcdctl txn <<TXN | head -n 1
version("recipes/tasks/claimed/$1") = "0"
version("recipes/tasks/todo/$1") > "0"

put recipes/tasks/claimed/$1 $2 --lease=$3


TXN
}
finish() { # task, worker: only who has the claim may
    etcdctl txn <<TXN | head -n 1
value("recipes/tasks/claimed/$1") = "$2"

del recipes/tasks/claimed/$1
del recipes/tasks/todo/$1


TXN
}
first=$(etcdctl lease grant 100 | cut -d ' ' -f 2)
second=$(etcdctl lease grant 100 | cut -d ' ' -f 2)
echo "first claims 1: $(claim 1 first "$first")"
echo "second claims 1: $(claim 1 second "$second")"
echo "second claims 2: $(claim 2 second "$second")"
# The first one dies. Here its lease is revoked; otherwise it runs out.
etcdctl lease revoke "$first" > /dev/null
echo "first finishes 1: $(finish 1 first)"
echo "second claims 1: $(claim 1 second "$second")"
echo "second finishes 1: $(finish 1 second)"
echo "second finishes 2: $(finish 2 second)"
echo "left: $(etcdctl get --prefix recipes/tasks/todo/ --count-only -w fields | sed -n 's/^"Count" : //p')"
etcdctl lease revoke "$second" > /dev/null
