#!/bin/sh
# A local cluster of processes, and the plainest ways to break it.  No checking: for that, `python -m chaos`.
#
#   cluster.sh start [N]     start N members (default 3), or those that are down
#   cluster.sh kill I        kill -9 member I (0, 1, ...)
#   cluster.sh stop I        end member I in an orderly way
#   cluster.sh restart I     start member I again
#   cluster.sh pause I       SIGSTOP
#   cluster.sh resume I      SIGCONT
#   cluster.sh status        who is there
#   cluster.sh endpoints     the client addresses, as etcdctl takes them
#   cluster.sh down          kill all; data stays
#
# CHAOS_DIR (default ./chaos-cluster) has data, logs and process ids.  CHAOS_PORT (default 23790) is the first
# of two ports a member.  CHAOS_SERVER is the program (default: python3 -m rusd), CHAOS_FLAGS more flags for it.
set -eu

dir=${CHAOS_DIR:-./chaos-cluster}
port=${CHAOS_PORT:-23790}
server=${CHAOS_SERVER:-python3 -m rusd}

fail() { echo "cluster.sh: $*" >&2; exit 2; }
size() { cat "$dir/size" 2>/dev/null || fail "no cluster in $dir: start one"; }
client_url() { echo "http://127.0.0.1:$((port + 2 * $1))"; }
peer_url() { echo "http://127.0.0.1:$((port + 2 * $1 + 1))"; }
pid() { cat "$dir/n$1/pid" 2>/dev/null || echo 0; }

up() {
    p=$(pid "$1")
    [ "$p" -gt 0 ] && kill -0 "$p" 2>/dev/null || return 1
    # A zombie is gone, however long init takes to bury it.
    ! grep -q '^State:[[:space:]]*Z' "/proc/$p/status" 2>/dev/null
}


member() {
    case "${1:-}" in '' | *[!0-9]*) fail "which member? one of 0 to $(($(size) - 1))" ;; esac
    [ "$1" -lt "$(size)" ] || fail "there is no member $1"
}

members() {
    list=
    i=0
    while [ "$i" -lt "$(size)" ]; do
        list="$list${list:+,}n$i=$(peer_url "$i")"
        i=$((i + 1))
    done
    echo "$list"
}

launch() {
    up "$1" && return
    mkdir -p "$dir/n$1"
    # $server and $CHAOS_FLAGS are split into words on purpose.
    # shellcheck disable=SC2086
    nohup $server --name="n$1" --data-dir="$dir/n$1/data" \
        --listen-client-urls="$(client_url "$1")" --advertise-client-urls="$(client_url "$1")" \
        --listen-peer-urls="$(peer_url "$1")" --initial-advertise-peer-urls="$(peer_url "$1")" \
        --initial-cluster="$(members)" --initial-cluster-token=chaos ${CHAOS_FLAGS:-} \
        >>"$dir/n$1/log" 2>&1 </dev/null &
    echo $! >"$dir/n$1/pid"
}

send() {
    up "$2" || fail "member $2 is not running"
    kill "-$1" "$(pid "$2")"
}

wait_until_gone() {
    tries=0
    while up "$1"; do
        tries=$((tries + 1))
        [ "$tries" -lt 300 ] || fail "member $1 does not end"
        sleep 0.1
    done
}

each() {
    i=0
    while [ "$i" -lt "$(size)" ]; do
        "$@" "$i"
        i=$((i + 1))
    done
}

show() {
    if up "$1"; then echo "n$1 up, process $(pid "$1"), $(client_url "$1")"; else echo "n$1 down"; fi
}

end_if_up() {
    if up "$1"; then
        kill -9 "$(pid "$1")"
        wait_until_gone "$1"
    fi
}

case "${1:-}" in
start)
    mkdir -p "$dir"
    [ -s "$dir/size" ] || echo "${2:-3}" >"$dir/size"
    each launch
    each show
    ;;
kill) member "${2:-}"; send KILL "$2"; wait_until_gone "$2"; show "$2" ;;
stop) member "${2:-}"; send TERM "$2"; wait_until_gone "$2"; show "$2" ;;
restart) member "${2:-}"; launch "$2"; show "$2" ;;
pause) member "${2:-}"; send STOP "$2" ;;
resume) member "${2:-}"; send CONT "$2" ;;
status) each show ;;
endpoints) each client_url | paste -sd, - ;;
down) each end_if_up ;;
*) sed -n '2,16s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
