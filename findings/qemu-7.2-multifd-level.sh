#!/bin/bash
# Name:     qemu-7.2-multifd-level
# Versions: QEMU 7.2.22, Debian 12's qemu-system-x86 1:7.2+dfsg-7+deb12u18+b3
# Expected: migrate-set-parameters with multifd-zlib-level 7 and multifd-zstd-level 9 sets them, or answers with an error.
# Seen:     {"return": {}}, and query-migrate-parameters still says 1 for both; max-bandwidth, asked for in the same
#           command, is set.
# Source:   qemu-devel, 4 March 2024, "migration/multifd: fix zlib and zstd compression levels not working", which adds
#           the two to what the command carries out.
# culvert:  asks after setting and refuses (src/culvert/drivers/qemu/migration_setup.py, docs/migration.md).
#
# Needs Debian 12's apt and its package sources; no root: nothing is installed, all is unpacked in a temporary folder.
# Ends with 0 when it is as stated above, with 1 when not, or when that package cannot be had.
set -euo pipefail

package=qemu-system-x86 version=1:7.2+dfsg-7+deb12u18+b3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work" # apt reads as another user
mkdir -p "$work"/lists/partial "$work"/archives/partial "$work/root"
: >"$work/status" # as if nothing were installed: every library comes from the archive too
apt=(-qq -o Dir::State::lists="$work/lists" -o Dir::State::status="$work/status" -o Dir::Cache="$work"
    -o Dir::Cache::archives="$work/archives" -o APT::Sandbox::User=root -o Debug::NoLocking=true)
apt-get "${apt[@]}" update
apt-get "${apt[@]}" -y --no-install-recommends --download-only install "$package=$version" >/dev/null
for archive in "$work"/archives/*.deb; do
    dpkg -x "$archive" "$work/root"
done

libraries=$work/root/usr/lib/x86_64-linux-gnu
answers=$(
    printf '%s\n' \
        '{"execute": "qmp_capabilities"}' \
        '{"execute": "query-migrate-parameters", "id": "before"}' \
        '{"execute": "migrate-set-parameters", "id": "set", "arguments":
          {"multifd-zlib-level": 7, "multifd-zstd-level": 9, "max-bandwidth": 12345678}}' \
        '{"execute": "query-migrate-parameters", "id": "after"}' \
        '{"execute": "quit"}' |
        QEMU_MODULE_DIR="$libraries/qemu" timeout 60 "$work/root/lib64/ld-linux-x86-64.so.2" \
            --library-path "$work/root/lib/x86_64-linux-gnu:$libraries" "$work/root/usr/bin/qemu-system-x86_64" \
            -machine none -nodefaults -display none -S -qmp stdio
)

said() { # said ID NAME: the value of NAME in the answer to the command of that id
    grep "\"id\": \"$1\"" <<<"$answers" | grep -o "\"$2\": [0-9]*" | sed 's/.*: //'
}

grep -o '"package": "[^"]*"' <<<"$answers"
grep '"id": "set"' <<<"$answers" | tr -d '\r'
for name in multifd-zlib-level multifd-zstd-level max-bandwidth; do
    echo "$name: $(said before $name) before, $(said after $name) after"
done

stated() { # stated WHAT COMMAND…: the command must succeed
    "${@:2}" || { echo "not as stated any more: $1" >&2 && exit 1; }
}
stated "the version" grep -qF "\"package\": \"Debian $version\"" <<<"$answers"
stated "the good answer" grep -qF '{"return": {}, "id": "set"}' <<<"$answers"
stated "zlib's level is kept" test "$(said after multifd-zlib-level)" = "$(said before multifd-zlib-level)"
stated "zstd's level is kept" test "$(said after multifd-zstd-level)" = "$(said before multifd-zstd-level)"
stated "the bandwidth is taken" test "$(said after max-bandwidth)" = 12345678
echo "as stated"
