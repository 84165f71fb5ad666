#!/bin/sh
# A lock that one process has at a time, its queue in the order of asking, and a fence against who held it too long.
#
# `etcdctl lock NAME -- COMMAND` waits its turn, runs the command, and gives the lock back when it ends, however it ends:
# the lock hangs on a lease. Who loses it without noticing (a pause, a partition) can still write. So a write carries the
# revision of the lock's key, which only rises, and the store refuses one that is lower than the highest it has seen.
set -eu

# What runs inside of the lock: $ETCD_LOCK_KEY and $ETCD_LOCK_REV say what is held.
guarded='
n=$(etcdctl get recipes/lock/counter --print-value-only)
etcdctl put recipes/lock/counter $((${n:-0} + 1)) > /dev/null
'
for _ in 1 2 3 4 5; do
    etcdctl lock recipes/lock/name -- sh -c "$guarded" &
done
wait
echo "five at once, one at a time: $(etcdctl get recipes/lock/counter --print-value-only)"

# A write behind a fence: it counts only if nobody with a later lock was here. The fence moves with it.
fenced_put() { # key, value, revision of the lock
    etcdctl txn <<TXN
mod("$1/fence") < "$3"
value("$1/fence") < "$(printf %020d "$3")"

put $1 $2
put $1/fence $(printf %020d "$3")


TXN
}
etcdctl put recipes/lock/data/fence "$(printf %020d 0)" > /dev/null
old=$(etcdctl lock recipes/lock/name -- sh -c 'echo $ETCD_LOCK_REV')
new=$(etcdctl lock recipes/lock/name -- sh -c 'echo $ETCD_LOCK_REV')
# The later holder writes first; the earlier one wakes up and is refused.
echo "the later holder: $(fenced_put recipes/lock/data new "$new" | head -n 1)"
echo "the earlier holder: $(fenced_put recipes/lock/data old "$old" | head -n 1)"
echo "what is kept: $(etcdctl get recipes/lock/data --print-value-only)"
