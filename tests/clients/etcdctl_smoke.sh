#!/bin/bash
# What etcdctl prints and how it exits, check by check, against a server of its own.
#
#   [ETCDCTL=PATH] etcdctl_smoke.sh SERVER_BINARY    e.g. target/release/holdfast, or an etcd
#
# Starts the binary on loopback with an empty directory and stops it. The expected texts are those of etcdctl
# 3.4.23, 3.5.1 and 3.7.1 against etcd. Checks of what this server does not do yet are skipped unless ALL=1.
set -u
[ $# -eq 1 ] || { echo "usage: $0 SERVER_BINARY" >&2; exit 64; }
ETCDCTL=${ETCDCTL:-$(command -v etcdctl)} || { echo "no etcdctl: set ETCDCTL, or install etcd-client" >&2; exit 69; }
D=$(mktemp -d); HOST=127.0.0.1; PORT=${PORT:-23790}; URL=http://$HOST:$PORT; PEER=http://$HOST:$((PORT + 1))
for v in $(env | sed -n 's/^\(ETCD[A-Z]*_[A-Z_]*\)=.*/\1/p'); do unset "$v"; done
"$1" --name=m0 --data-dir="$D/data" --listen-client-urls=$URL --advertise-client-urls=$URL \
  --listen-peer-urls=$PEER --initial-advertise-peer-urls=$PEER --initial-cluster=m0=$PEER 2>"$D/log" & SERVER=$!
trap 'kill $SERVER; wait $SERVER; rm -rf "$D"' EXIT
for _ in $(seq 300); do curl -sf $URL/health >/dev/null && break; sleep 0.1; done
curl -sf $URL/health >/dev/null || { echo "the server does not serve:" >&2; tail -5 "$D/log" >&2; exit 70; }
export ETCDCTL_ENDPOINTS=$HOST:$PORT
NOT_YET='^(user|role|auth|u1|root) |^no user|^wrong password|^snapshot save|^move-leader|^member (add|remove)|^lock runs|^elect'
P=0; F=0; S=0
CV=$($ETCDCTL version | sed -n 's/^etcdctl version: //p')
# judge NAME WANT_RC REGEX RC OUTPUT   (REGEX on stdout and stderr; NONE: no output)
judge() { local hit=0
  if [ "$3" = NONE ]; then [ -z "$5" ] && hit=1; else printf '%s' "$5" | grep -qzP -- "$3" && hit=1; fi
  if [ "$4" -eq "$2" ] && [ $hit = 1 ]; then P=$((P+1)); echo "ok   $1"
  else F=$((F+1)); echo "FAIL $1: exit $4, not $2; expected $3; said $(printf '%s' "$5" | head -c 300 | tr '\n' '|')"; fi; }
skipped() { [ -z "${ALL:-}" ] && [[ "$1" =~ $NOT_YET ]] && { S=$((S+1)); echo "skip $1"; }; }
# run NAME WANT_RC REGEX CMD...
run() { local n=$1 w=$2 re=$3 o; shift 3; skipped "$n" && return; o=$("$@" 2>&1 </dev/null); judge "$n" "$w" "$re" $? "$o"; }
# runin INPUT NAME WANT_RC REGEX CMD...
runin() { local in=$1 n=$2 w=$3 re=$4 o; shift 4; o=$(printf "$in" | "$@" 2>&1); judge "$n" "$w" "$re" $? "$o"; }
c=$ETCDCTL
run 'put prints OK' 0 '^OK$' $c put foo bar
run 'get prints key and value' 0 '^foo\nbar$' $c get foo
run 'get --print-value-only' 0 '^bar$' $c get --print-value-only foo
run 'get of a missing key: no output, exit 0' 0 NONE $c get none
run 'put --prev-kv' 0 '^OK\nfoo\nbar$' $c put --prev-kv foo bar2
run 'get -w json' 0 '^\{"header":\{"cluster_id":\d+,"member_id":\d+,"revision":\d+,"raft_term":\d+\},"kvs":\[\{"key":"Zm9v","create_revision":\d+,"mod_revision":\d+,"version":2,"value":"YmFyMg=="\}\],"count":1\}$' $c get foo -w json
run 'get -w fields' 0 '"ClusterID" : \d+\n"MemberID" : \d+\n"Revision" : \d+\n"RaftTerm" : \d+\n"Key" : "foo"\n"CreateRevision" : \d+\n"ModRevision" : \d+\n"Version" : 2\n"Value" : "bar2"\n"Lease" : 0\n"More" : false\n"Count" : 1$' $c get foo -w fields
for i in 1 2 3 4 5; do $c put k$i v$i >/dev/null; done
run 'get --prefix --keys-only' 0 '^k1\n\nk2\n\nk3\n\nk4\n\nk5\n?$' $c get k --prefix --keys-only
run 'get range [k2,k4)' 0 '^k2\nv2\nk3\nv3$' $c get k2 k4
run 'get --from-key --limit' 0 '^k3\nv3\nk4\nv4$' $c get k3 --from-key --limit=2
run 'get --order=DESCEND --sort-by=KEY' 0 '^k5\nv5\nk4\nv4$' $c get k --prefix --order=DESCEND --sort-by=KEY --limit 2
run 'get --rev old' 0 '^foo\nbar$' $c get foo --rev=2
run 'get --rev future is an error, exit 1' 1 'required revision is a future revision' $c get foo --rev=100000
run 'get --consistency=s' 0 '^k1\nv1$' $c get k1 --consistency=s
run 'get --hex' 0 '^\\x6b\\x31\n\\x76\\x31$' $c get k1 --hex
run 'del prints count' 0 '^1$' $c del k5
run 'del --prev-kv' 0 '^1\nk4\nv4$' $c del k4 --prev-kv
run 'del --prefix' 0 '^3$' $c del k --prefix
run 'del none prints 0' 0 '^0$' $c del nothing
runin 'value("foo") = "bar2"\n\nput foo 3\nget foo\n\nget nope\n\n' 'txn success' 0 'SUCCESS\n\nOK\n\nfoo\n3' $c txn
runin 'mod("foo") = "1"\n\nput foo 4\n\nget foo\n\n' 'txn failure branch' 0 'FAILURE\n\nfoo\n3' $c txn
L=$($c lease grant 100 | sed -n 's/^lease \([0-9a-f]*\) granted with TTL(100s)$/\1/p'); run 'lease grant prints a hex id' 0 NONE test -n "$L"
run 'put --lease' 0 '^OK$' $c put lk lv --lease=$L
run 'lease timetolive --keys' 0 "^lease $L granted with TTL\\(100s\\), remaining\\(\\d+s\\), attached keys\\(\\[lk\\]\\)\$" $c lease timetolive --keys $L
run 'lease keep-alive --once' 0 "^lease $L keepalived with TTL\\(100\\)\$" $c lease keep-alive --once $L
run 'lease list' 0 "^found 1 leases\n$L\$" $c lease list
run 'lease revoke' 0 "^lease $L revoked\$" $c lease revoke $L
run 'lease revoke again: error, exit 1' 1 'requested lease not found' $c lease revoke $L
run 'lease timetolive of a gone lease' 0 'already expired' $c lease timetolive $L
run 'watch --rev prints PUT history' 124 '^PUT\nfoo\nbar\nPUT\nfoo\nbar2\nPUT\nfoo\n3' timeout 2 $c watch foo --rev=2
run 'watch with exec' 124 'hello-foo' timeout 2 $c watch foo --rev=2 -- sh -c 'echo hello-$(echo $ETCD_WATCH_KEY | tr -d \")'
R=$($c get foo -w json | sed 's/.*"revision":\([0-9]*\).*/\1/')
run 'compact' 0 "^compacted revision $R\$" $c compact $R
run 'get of a compacted revision: exit 1' 1 'required revision has been compacted' $c get foo --rev=2
run 'compact twice: exit 1' 1 'required revision has been compacted' $c compact $R
run 'watch a compacted revision: exit 5' 5 'watch was canceled \(etcdserver: mvcc: required revision has been compacted\)' timeout 5 $c watch foo --rev=1
run 'lock runs a command and passes its exit status' 0 '^hi$' $c lock mylock -- echo hi
run 'member list simple' 0 '^[0-9a-f]{1,16}, started, \S+, http\S+, http\S+, false$' $c member list
run 'member list table' 0 'IS LEARNER' $c member list -w table
run 'member add of a bad URL: exit 1' 1 'http|URL|address' $c member add x --peer-urls=nonsense:1
run 'member remove of an unknown id: exit 1' 1 'Member not found|member not found' $c member remove 1234
run 'endpoint health' 0 'is healthy: successfully committed proposal: took = ' $c endpoint health
run 'endpoint health of a dead port: exit 1' 1 'unhealthy' env -u ETCDCTL_ENDPOINTS $c --endpoints 127.0.0.1:9 --dial-timeout=1s --command-timeout=1s endpoint health
run 'endpoint status table' 0 'ENDPOINT.*\n.*\n.* true .*' $c endpoint status -w table
run 'endpoint hashkv' 0 ", \\d+" $c endpoint hashkv
run 'alarm list empty' 0 NONE $c alarm list
run 'defrag' 0 '^Finished defragmenting etcd member\[' $c defrag
run 'snapshot save' 0 "Snapshot saved at $D/s.db" $c snapshot save $D/s.db
run 'move-leader to a bad id: exit 128' 128 'parsing "zz": invalid syntax' $c move-leader zz
run 'check perf is known' 0 'load' $c check perf --help
run 'elect campaigns' 124 'E/[0-9a-f]+\nme' timeout 2 $c elect E me
run 'unknown command: exit 1' 1 'unknown command' $c nonesuch
run 'bad flag value: exit 1' 1 'invalid argument|flag' $c get --limit=x foo
run 'user add root' 0 '^User root created$' $c user add root:rootpw
run 'role add' 0 '^Role r1 created$' $c role add r1
run 'role grant-permission' 0 '^Role r1 updated$' $c role grant-permission r1 readwrite app/ --prefix=true
run 'role get' 0 'Role r1\nKV Read:\n\t\[app/, app0\) \(prefix app/\)\nKV Write:\n\t\[app/, app0\) \(prefix app/\)' $c role get r1
run 'user add, grant-role' 0 'Role r1 is granted to user u1' sh -c "$c user add u1:pw1 >/dev/null && $c user grant-role u1 r1"
run 'user grant-role root root' 0 'Role root is granted to user root' sh -c "$c user grant-role root root || { $c role add root && $c user grant-role root root; }"
run 'auth enable' 0 '^Authentication Enabled$' $c auth enable
run 'no user: refused, exit 1' 1 'user name is empty' $c get foo
run 'wrong password: refused, exit 2' 2 'authentication failed, invalid user ID or password' $c --user u1:bad get app/x
run 'u1 may write app/' 0 '^OK$' $c --user u1:pw1 put app/x 1
run 'u1 may not write elsewhere' 1 'permission denied' $c --user u1:pw1 put other 1
run 'root may' 0 '^OK$' $c --user root:rootpw put other 1
run 'user get' 0 '^User: u1\nRoles: r1$' $c --user root:rootpw user get u1
run 'auth disable' 0 '^Authentication Disabled$' $c --user root:rootpw auth disable
echo "RESULT etcdctl-smoke pass=$P fail=$F skip=$S total=$((P+F+S)) etcdctl=$CV"; [ $F -eq 0 ]
