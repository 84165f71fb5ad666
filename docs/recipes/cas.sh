#!/bin/sh
# Compare and swap, create only, and keys in order: what etcd's v2 API had as verbs is a txn each.
set -eu

create() { # key, value: only if it is not there
    etcdctl txn <<TXN | head -n 1
version("$1") = "0"

put $1 $2


TXN
}
swap() { # key, expected, new: only if it is as expected
    etcdctl txn <<TXN | head -n 1
value("$1") = "$2"

put $1 $3


TXN
}
echo "create: $(create recipes/cas/key 1)"
echo "create again: $(create recipes/cas/key 2)"
echo "swap 1 for 2: $(swap recipes/cas/key 1 2)"
echo "swap 1 for 3: $(swap recipes/cas/key 1 3)"
echo "value: $(etcdctl get recipes/cas/key --print-value-only)"

# Keys in order: a number that nobody else has, from a counter that moves by compare and swap.
in_order() { # value
    while :; do
        last=$(etcdctl get recipes/cas/last --print-value-only)
        next=$((${last:-0} + 1))
        if [ -z "$last" ]; then was='version("recipes/cas/last") = "0"'; else was="value(\"recipes/cas/last\") = \"$last\""; fi
        if etcdctl txn <<TXN | grep -q SUCCESS
$was

put recipes/cas/last $next
put recipes/cas/job/$(printf %010d $next) $1


TXN
        then return 0; fi
    done
}
for n in 1 2 3; do in_order "job" & done
wait
echo "in order:" $(etcdctl get --prefix recipes/cas/job/ --keys-only | grep . | sed 's/.*0//')
