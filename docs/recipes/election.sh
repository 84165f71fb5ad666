#!/bin/sh
# Electing a leader, and following whoever it is.
#
# `etcdctl elect NAME PROPOSAL` waits until it is elected and stays it until it ends; `elect -l NAME` shows each leader.
# The next in line follows by itself when a leader ends or its lease runs out.
set -eu

etcdctl elect recipes/election first > /dev/null &
first=$!
until [ "$(etcdctl get --prefix recipes/election/ --print-value-only)" = first ]; do sleep 0.1; done
etcdctl elect recipes/election second > /dev/null &
second=$!
until etcdctl get --prefix recipes/election/ --print-value-only | grep -q second; do sleep 0.1; done

leader() { etcdctl get --prefix recipes/election/ --sort-by=CREATE --limit=1 --print-value-only; }
echo "elected: $(leader)"
kill -INT $first
wait $first || true
until [ "$(leader)" = second ]; do sleep 0.1; done
echo "then: $(leader)"
kill -INT $second
wait $second || true
