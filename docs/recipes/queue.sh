#!/bin/sh
# A queue that each entry leaves once, in order, and messages that everybody hears.
#
# What is put gets a revision, and revisions only rise: sorted by creation, a prefix is a queue. Who takes the head deletes
# it in a txn that fails if another one was faster.
set -eu

put() { # unique name, content
    etcdctl put "recipes/queue/$1" "$2" > /dev/null
}
take() { # prints the content; empty: the queue is
    while :; do
        head=$(etcdctl get --prefix recipes/queue/ --sort-by=CREATE --order=ASCEND --limit=1)
        [ -n "$head" ] || return 0
        key=$(echo "$head" | head -n 1)
        if etcdctl txn <<TXN | grep -q SUCCESS
version("$key") > "0"

del $key


TXN
        then
            echo "$head" | tail -n 1
            return 0
        fi
    done
}
put z first
put a second
put m third
for n in 1 2 3; do take > "taken.$n" & done
wait
echo "taken:" $(cat taken.* | sort | tr '\n' ' ')
echo "left: $(take)"

# Publish and subscribe: each subscriber has every message, in the order of publication.
revision=$(etcdctl put recipes/topic/news 0 -w fields | sed -n 's/^"Revision" : //p')
watches=
for subscriber in 1 2; do
    etcdctl watch recipes/topic/news --rev=$((revision + 1)) > "heard.$subscriber" &
    watches="$watches $!"
done
etcdctl put recipes/topic/news hello > /dev/null
etcdctl put recipes/topic/news world > /dev/null
for subscriber in 1 2; do
    until grep -q world "heard.$subscriber"; do sleep 0.1; done
    echo "subscriber $subscriber:" $(grep -v -e PUT -e recipes "heard.$subscriber")
done
kill $watches
