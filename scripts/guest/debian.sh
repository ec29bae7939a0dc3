#!/usr/bin/env bash
# Makes the root file system of a Debian 13 guest as a directory, with systemd, git, a C compiler, SQLite and Node. Tests of shared
# directories copy it and boot from the copy. Its virtiofsd, which is written in Rust, is the reference of the tests and
# benches. Needs root, for the owners of the files.
# Prints the path of the directory. Takes a second if the directory is there already.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../system-packages.sh"
. "$here/cache.sh"

packages=systemd-sysv,dbus,udev,kmod,login,passwd,procps,attr,acl,git,gcc,libc6-dev,make,sqlite3,nodejs,virtiofsd

fail() { echo "debian: $*" >&2 && exit 1; }

main() {
  local dir stamp
  dir=$(dirname "$(guest_dir)")/debian-13
  mkdir -p "$dir"
  exec 8<"$dir" && flock 8 # two at once: the second finds the work done
  stamp=$(cat "${BASH_SOURCE[0]}" | cksum)
  if [ "$(cat "$dir/stamp" 2>/dev/null)" != "$stamp" ]; then
    [ "$(id -u)" = 0 ] || fail "needs root, for the owners of the files: run  sudo -E bash $0"
    command -v mmdebstrap >/dev/null || bash "$here/../system-packages.sh" install >&2
    rm -rf "$dir/stamp" "$dir/root" "$dir/new"
    make_root "$dir/new" >&2 || { rm -rf "$dir/new" && fail "the root file system could not be made, the reason is above"; }
    mv "$dir/new" "$dir/root"
    echo "$stamp" >"$dir/stamp"
  fi
  echo "$dir/root"
}

# The mirror that this machine's apt uses for its own release has Debian 13 too.
make_root() {
  local root=$1 mirror key
  read -r mirror _ key <<<"$(apt_sources | awk -v c="$(debian_codename)" '$2 == c || $2 == "stable"' | head -n 1)"
  [ -n "$mirror" ] || fail "no apt source for $(debian_codename) found"
  [ "$key" != - ] || key=/usr/share/keyrings/debian-archive-keyring.gpg
  mmdebstrap --quiet --variant=minbase --include="$packages" \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    trixie "$root" "deb [signed-by=$key] $mirror trixie main"
  rm -rf "$root"/var/cache/apt/*.bin "$root"/var/lib/apt/lists/*
  # a login on the serial port without a password, with a shell that does not edit lines
  sed -i 's/^root:[^:]*:/root::/' "$root/etc/shadow"
  sed -i '/^root:/s,[^:]*$,/bin/sh,' "$root/etc/passwd"
  echo nephos >"$root/etc/hostname"
  echo '127.0.0.1 localhost nephos' >"$root/etc/hosts"
  : >"$root/etc/fstab"
  # else systemd renews the caches of the linker, of users and of messages at the first boot, a minute under emulation
  touch "$root/etc/.updated" "$root/var/.updated"
}

main
