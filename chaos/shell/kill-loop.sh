#!/bin/sh
# Kill -9 one member after the other and start it again, for ever or so many times.
#
#   kill-loop.sh [times] [seconds down] [seconds up]
#
# Works on the cluster of cluster.sh; the same variables hold.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
times=${1:-0}
down=${2:-3}
up=${3:-5}
size=$(cat "${CHAOS_DIR:-./chaos-cluster}/size")

round=0
while [ "$times" -eq 0 ] || [ "$round" -lt "$times" ]; do
    # od rather than $RANDOM, which not every sh has
    victim=$(($(od -An -N2 -tu2 /dev/urandom) % size))
    "$here/cluster.sh" kill "$victim"
    sleep "$down"
    "$here/cluster.sh" restart "$victim"
    sleep "$up"
    round=$((round + 1))
done
