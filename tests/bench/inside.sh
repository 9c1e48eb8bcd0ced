#!/bin/bash
# First process of the bench namespace: mounts, the lab world, then `run --inside`.
# Being process 1 there, it reaps orphans; when it ends, everything ends.
set -u
here=$(dirname "$(readlink -f "$0")")
peers=$BENCH_PEERS work=$BENCH_WORK
mount --make-rprivate /
mount -t tmpfs -o size=6g,mode=755 tmpfs "$work/run"
mkdir -p "$work/run/up" "$work/run/wk"
mount -t overlay overlay -o "lowerdir=$peers/usr:/usr" /usr
mount -t overlay overlay -o "lowerdir=$peers/etc:/etc,upperdir=$work/run/up,workdir=$work/run/wk" /etc
mkdir -p "$work/run/vup" "$work/run/vwk"
mount -t overlay overlay -o "lowerdir=/var,upperdir=$work/run/vup,workdir=$work/run/vwk" /var
for u in postfix:9101 Debian-exim:9102 postdrop:9105 danelaw:9106; do
	n=${u%:*} i=${u#*:}
	grep -q "^$n:" /etc/passwd || echo "$n:x:$i:$i::/nonexistent:/usr/sbin/nologin" >> /etc/passwd
	grep -q "^$n:" /etc/group || echo "$n:x:$i:" >> /etc/group
done
export BENCH_RUN=$work/run/dns
"$here/world.sh" up "$work/world" "$BENCH_DOMAINS" "$BENCH_CERT" >"$work/run/world.log" 2>&1 || {
	cat "$work/run/world.log" >&2
	exit 1
}
"$here/run" --inside "$@"
rc=$?
[ -n "${BENCH_DEBUG:-}" ] && tail -n 40 "$work"/run/*/out.log "$work"/run/*/log/* >&2
exit $rc
