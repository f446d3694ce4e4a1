#!/bin/bash
# Name:     qemu-11.1-postcopy-pages
# Versions: QEMU 11.1.3 as the source, Debian 13's backports, qemu-system-x86 1:11.1.3+ds-1~bpo13+1, under TCG; not seen with
#           10.0.13, 1:10.0.13+ds-0+deb13u1
# Expected: a guest arrives with what it has written, by pre-copy and by post-copy.
# Seen:     where post-copy is allowed (capability postcopy-ram), pages that the guest writes all the time arrive as they
#           were when they were sent: in 4 of 4 post-copies 63, 64, 64, 63 of 64 pages; in 4 of 4 that completed as pre-copy,
#           never switched, 64, 63, 63, 64. With post-copy not allowed in 0 of 4; from 10.0.13 to 11.1.3 in 0 of 8.
# Source:   none known. QEMU 11.1 looks up ten times a second what was written while post-copy is allowed. It takes a guest
#           that writes for a while only what is still to be sent, as here; whether KVM is affected is not known.
# culvert:  tells of it (docs/guests.md).
#
# Needs Python 3, apt and a source of Debian packages; no root: nothing is installed, all is unpacked in a temporary folder.
# Ends with 0 when it is as stated above, with 1 when not, or when the packages cannot be had.
set -euo pipefail

new=1:11.1.3+ds-1~bpo13+1 old=1:10.0.13+ds-0+deb13u1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work" # apt reads as another user
own=$(. /etc/os-release && echo "$VERSION_CODENAME")
origin() { # origin CODENAME: the mirror that this machine's own apt takes that from
    apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 'Created-By: Packages' | awk -v of="$1" '$2 == of {print $1; exit}'
}
keys=/usr/share/keyrings/debian-archive-keyring.gpg
{
    for suite in trixie trixie-backports; do
        echo "deb [signed-by=$keys] $(origin "$own") $suite main"
    done
    security=$(origin "$own-security")
    [[ -z $security ]] || echo "deb [signed-by=$keys] $security trixie-security main"
} >"$work/sources.list"
mkdir -p "$work/lists/partial"
: >"$work/status" # as if nothing were installed: every library comes from the archive too
apt=(-qq -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=- -o Dir::State::lists="$work/lists"
    -o Dir::State::status="$work/status" -o Dir::Cache="$work" -o APT::Sandbox::User=root -o Debug::NoLocking=true)
apt-get "${apt[@]}" update
unpack() { # unpack FOLDER SUITE VERSION: QEMU and its libraries
    mkdir -p "$work/$1.archives/partial"
    apt-get "${apt[@]}" -o Dir::Cache::archives="$work/$1.archives" -y --no-install-recommends --download-only \
        -t "$2" install "qemu-system-x86=$3" >/dev/null
    for archive in "$work/$1.archives"/*.deb; do
        dpkg -x "$archive" "$work/$1"
    done
    rm -r "$work/$1.archives"
}
unpack new trixie-backports "$new"
unpack old trixie "$old"

cat >"$work/moves.py" <<'PROGRAM'
"""moves.py FOLDER SOURCE ALLOWED SWITCHED TIMES: for each migration how many of the guest's pages were old at its arrival."""

import json
import os
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

FIRST = 0x100000  # the guest's pages begin here
BEFORE = 256  # pages that it has written once and that go first, a second long
HOT = 64  # then those that it writes all the time
BEHIND = 256  # and again some that it has written once
RATE = 1 << 20  # bytes a second
SWITCH = BEFORE + HOT + 50  # it is switched, or may end, when so many pages have gone
WAITS = 30.0
PROCESSES = []

# The guest is its machine's firmware: 32-bit code that needs no memory of its own and is not in RAM.
GUEST = bytes.fromhex(
    "fa"  # cli
    "2e660f01163000"  # lgdtl %cs:0x30
    "0f20c0 0c01 0f22c0"  # protected mode
    "66ea3600ffff0800"  # ljmpl $8, $0xffff0036
    "0000000000000000 ffff0000009acf00 ffff00000092cf00"  # at 0x18: nothing, flat code, flat data
    "1700 1800ffff"  # at 0x30: where those are
    "66b81000 8ed8"  # at 0x36: %ds is flat data
    "bf00001000"  # mov $FIRST, %edi
    "897f04"  # no page stays zero: mov %edi, 4(%edi)
    "81c700100000"  # add $4096, %edi
    "81ff44444444"  # cmp $END_OF_ALL, %edi
    "72ef"  # jb: the next page
    "31ed"  # the number of the round: xor %ebp, %ebp
    "31db"  # a round; pages that do not hold its number: xor %ebx, %ebx
    "bf33333333"  # mov $HOT_ONES, %edi
    "392f 7401 43"  # cmp %ebp, (%edi); je; inc %ebx
    "8d4501 8907"  # they are to hold the next: lea 1(%ebp), %eax; mov %eax, (%edi)
    "81c700100000"  # add $4096, %edi
    "81ff22222222"  # cmp $END_OF_HOT, %edi
    "72e8"  # jb: the next page
    "45"  # inc %ebp
    "85db 7508"  # something is to be told when there was such a page,
    "f7c5ffff0000 75d4"  # and every 65536 rounds; else the next round
    "b908000000"  # mov $8, %ecx
    "c1c304 88d8 240f 0461"  # a digit of %ebx, as a letter from a to p
    "e6e9 e2f3"  # out %al, $0xe9; loop
    "b00a e6e9"  # a newline
    "ebbc"  # the next round
)


def firmware():
    code = GUEST
    for mark, page in ((b"\x33", BEFORE), (b"\x22", BEFORE + HOT), (b"\x44", BEFORE + HOT + BEHIND)):
        code = code.replace(mark * 4, struct.pack("<I", FIRST + 4096 * page))
    return code.ljust(0xFFF0, b"\0") + (b"\xe9" + struct.pack("<H", 0x10000 - 0xFFF3)).ljust(16, b"\0")  # jmp to its begin


def until(true, what):
    end = time.monotonic() + WAITS
    while not true():
        if time.monotonic() > end:
            sys.exit(f"not within {WAITS} s: {what}")
        time.sleep(0.005)


class Qemu:
    def __init__(self, folder, name, root, *more):
        self.told = folder / f"{name}.told"
        self.told.unlink(missing_ok=True)
        path = folder / f"{name}.monitor"
        path.unlink(missing_ok=True)
        libraries = root / "usr/lib/x86_64-linux-gnu"
        words = [libraries / "ld-linux-x86-64.so.2", "--library-path", libraries, root / "usr/bin/qemu-system-x86_64"]
        words += ["-L", root / "usr/share/qemu", "-machine", "pc-q35-10.0", "-accel", "tcg", "-m", "16M", "-S", "-nodefaults"]
        words += ["-no-user-config", "-display", "none", "-bios", folder / "firmware", "-chardev", f"file,id=told,path={self.told}"]
        words += ["-device", "isa-debugcon,chardev=told,iobase=0xe9", "-qmp", f"unix:{path},server=on,wait=off", *more]
        environment = {**os.environ, "QEMU_MODULE_DIR": str(libraries / "qemu")}
        quiet = subprocess.DEVNULL
        PROCESSES.append(subprocess.Popen([str(word) for word in words], stdin=quiet, stdout=quiet, stderr=quiet, env=environment))
        self.connection = socket.socket(socket.AF_UNIX)
        self.connection.settimeout(WAITS)
        until(lambda: path.exists() and self.connection.connect_ex(str(path)) == 0, "a monitor")
        self.lines = self.connection.makefile("rw")
        self.lines.readline()
        self("qmp_capabilities")

    def __call__(self, command, **arguments):
        self.lines.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.lines.flush()
        while True:
            said = json.loads(self.lines.readline())
            if "error" in said:
                sys.exit(f"{command}: {said['error']}")
            if "return" in said:
                return said["return"]

    def numbers(self):
        """What the guest has told so far: how many pages did not hold the number of their round."""
        lines = self.told.read_text().splitlines() if self.told.exists() else []
        return [int("".join(f"{ord(letter) - ord('a'):x}" for letter in line), 16) for line in lines if len(line) == 8]

    def sent(self):
        return self("query-migrate").get("ram", {}).get("normal", 0)


def moved(folder, source, destination, allowed, switched):
    """How many pages were old where the guest arrived; how many bytes went after the switch."""
    for qemu in (source, destination):
        qemu("migrate-set-capabilities", capabilities=[{"capability": "postcopy-ram", "state": allowed}])
    source("migrate-set-parameters", **{"max-bandwidth": RATE, "downtime-limit": 1})
    source("cont")
    until(lambda: len(source.numbers()) > 1, "the guest runs")
    road = f"unix:{folder / 'road'}"
    destination("migrate-incoming", uri=road)
    source("migrate", uri=road)
    until(lambda: source.sent() >= SWITCH, "the pages that are written have gone")
    if switched:
        source("migrate-start-postcopy")
    else:
        source("migrate-set-parameters", **{"downtime-limit": 5000})
    until(lambda: destination("query-status")["status"] != "inmigrate", "the guest is there")
    destination("cont")
    until(lambda: source("query-migrate")["status"] == "completed", "completed")
    until(lambda: len(destination.numbers()) > 2, "the guest runs on")
    if any(source.numbers()):
        sys.exit("the guest was not whole before it was migrated")
    return sum(destination.numbers()), source("query-migrate")["ram"]["postcopy-bytes"]


def main():
    work, name = Path(sys.argv[1]), sys.argv[2]
    allowed, switched = sys.argv[3] == "allowed", sys.argv[4] == "switched"
    (work / "firmware").write_bytes(firmware())
    for _ in range(int(sys.argv[5])):
        try:
            source = Qemu(work, "source", work / name)
            destination = Qemu(work, "destination", work / "new", "-incoming", "defer")
            pages, after = moved(work, source, destination, allowed, switched)
            if switched != (after > 0):
                sys.exit(f"{after} bytes were sent after a switch")
            print(pages, flush=True)
        finally:
            while PROCESSES:
                process = PROCESSES.pop()
                process.kill()
                process.wait()


main()
PROGRAM

times=4
lost() { # lost WHAT SOURCE ALLOWED SWITCHED: prints what came of it; leaves in $guests how many did not arrive whole
    local pages
    pages=$(timeout 100 python3 "$work/moves.py" "$work" "${@:2}" "$times" | tr '\n' ' ')
    guests=$(tr ' ' '\n' <<<"$pages" | grep -c '[1-9]' || true)
    echo "$1: $guests of $times guests had lost pages: ${pages% }"
}
lost "11.1.3, post-copy" new allowed switched && new_switched=$guests
lost "11.1.3, post-copy allowed, not switched to" new allowed - && new_allowed=$guests
lost "11.1.3, post-copy not allowed" new - - && new_plain=$guests
lost "10.0.13, post-copy" old allowed switched && old_switched=$guests
lost "10.0.13, post-copy allowed, not switched to" old allowed - && old_allowed=$guests

stated() { # stated WHAT COMMAND…: the command must succeed
    "${@:2}" || { echo "not as stated any more: $1" >&2 && exit 1; }
}
stated "11.1.3 loses pages in post-copy" test "$new_switched" -gt 0
stated "11.1.3 loses pages where post-copy is allowed" test "$new_allowed" -gt 0
stated "11.1.3 loses none where post-copy is not allowed" test "$new_plain" = 0
stated "10.0.13 loses none in post-copy" test "$old_switched" = 0
stated "10.0.13 loses none where post-copy is allowed" test "$old_allowed" = 0
echo "as stated"
