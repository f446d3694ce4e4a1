#!/bin/bash
# Name:     asyncio-write-waiting
# Versions: Python 3.13.5, Debian 13's python3.13 3.13.5-2+deb13u5; also seen with 3.12.1 and 3.13.0, not with 3.11.7
# Expected: a transport takes four times as many writes of 200 bytes, for a peer that reads none, in about four times
#           the processor time: write() says that it never blocks, and keeps what the socket does not take.
# Seen:     each write() that has to wait adds up all pieces that wait already, so the time goes with the square:
#           5000 writes 0.171 s, 20000 writes 3.070 s, 18 times as much; joined to pieces of 250000 bytes 0.001 s.
# Source:   CPython gh-91166 (Python 3.12: what waits is not joined any more); gh-146507, March 2026, which keeps a count
#           in versions after this one.
# culvert:  keeps what waits itself, in few pieces (src/culvert/rpc/outbox.py): a client that registered for events and
#           read none stopped the daemon for minutes.
#
# Needs apt and a source of Debian packages; no root: nothing is installed, all is unpacked in a temporary folder.
# Ends with 0 when it is as stated above, with 1 when not, or when that package cannot be had.
set -euo pipefail

package=python3.13 version=3.13.5-2+deb13u5 suite=trixie
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work" # apt reads as another user
mkdir -p "$work"/lists/partial "$work"/archives/partial "$work/root"
: >"$work/status" # as if nothing were installed: every library comes from the archive too
own=$(. /etc/os-release && echo "$VERSION_CODENAME")
origin() { # origin CODENAME: the mirror that this machine's own apt takes that from
    apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 'Created-By: Packages' | awk -v of="$1" '$2 == of {print $1; exit}'
}
keys=/usr/share/keyrings/debian-archive-keyring.gpg
{
    echo "deb [signed-by=$keys] $(origin "$own") $suite main"
    security=$(origin "$own-security")
    [[ -z $security ]] || echo "deb [signed-by=$keys] $security $suite-security main"
} >"$work/sources.list"
apt=(-qq -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=- -o Dir::State::lists="$work/lists"
    -o Dir::State::status="$work/status" -o Dir::Cache="$work" -o Dir::Cache::archives="$work/archives"
    -o APT::Sandbox::User=root -o Debug::NoLocking=true)
apt-get "${apt[@]}" update
apt-get "${apt[@]}" -y --no-install-recommends --download-only install "$package=$version" >/dev/null
for archive in "$work"/archives/*.deb; do
    dpkg -x "$archive" "$work/root"
done

cat >"$work/writes.py" <<'PROGRAM'
import asyncio
import socket
import sys
import time

SIZE = 200


async def seconds(writes: int, joined: int) -> float:
    """Processor time of so many writes that nobody reads, ``joined`` of them at a time; all of it must be kept."""
    near, far = socket.socketpair()
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=near)
    transport.write(bytes(4 << 20))  # more than the socket takes: from here on everything waits
    before = transport.get_write_buffer_size()
    begun = time.process_time()
    for _ in range(writes // joined):
        transport.write(bytes(SIZE * joined))
    took = time.process_time() - begun
    assert transport.get_write_buffer_size() - before == writes // joined * joined * SIZE
    transport.abort()
    far.close()
    return took


async def main() -> None:
    few, many, pieces = await seconds(5000, 1), await seconds(20000, 1), await seconds(20000, 1250)
    print(f"{sys.version.split()[0]} {few:.3f} {many:.3f} {pieces:.3f} {many / few:.1f}")


asyncio.run(main())
PROGRAM
libraries=$work/root/usr/lib/x86_64-linux-gnu
read -r python few many pieces times < <(
    PYTHONHOME="$work/root/usr" timeout 300 "$libraries/ld-linux-x86-64.so.2" --library-path "$libraries" \
        "$work/root/usr/bin/python3.13" "$work/writes.py"
)
echo "Python $python: 5000 writes $few s, 20000 writes $many s ($times times), 20000 in pieces of 250000 bytes $pieces s"

stated() { # stated WHAT COMMAND…: the command must succeed
    "${@:2}" || { echo "not as stated any more: $1" >&2 && exit 1; }
}
stated "the version" test "$python" = 3.13.5
stated "four times as many writes take more than eight times as long" awk -v times="$times" 'BEGIN {exit !(times > 8)}'
stated "in pieces it takes a tenth at most" awk -v a="$pieces" -v b="$many" 'BEGIN {exit !(a < b / 10)}'
echo "as stated"
