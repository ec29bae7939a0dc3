#!/usr/bin/env bash
# The programs Nephos, its tests and its demo guest need from the system.
# Sourced: functions that look only. Run as root: `install` brings what is missing, `refresh` fetches apt's
# lists (with backports on Debian 12). Bash 3.2 syntax, so that macOS can at least read the message.

PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin # depmod's place, which users often lack
export PATH

# The tool to look for, and Debian's package that has it.
SYSTEM_TOOLS='
qemu-system-x86_64 qemu-system-x86
qemu-img           qemu-utils
qboot.rom          qemu-system-data
qemu-storage-daemon qemu-utils
virtiofsd          virtiofsd
busybox            busybox-static
cpio               cpio
depmod             kmod
zstd               zstd
tar2sqfs           squashfs-tools-ng
setcap             libcap2-bin
xz                 xz-utils
lz4                lz4
setpriv            util-linux
ip                 iproute2
tc                 iproute2
curl               curl
socat              socat
iperf3             iperf3
perl               perl-base
mount              mount
mmdebstrap         mmdebstrap
mkfs.ext4          e2fsprogs
mkfs.fat           dosfstools
mcopy              mtools
sfdisk             fdisk
OVMF.fd            ovmf
swtpm              swtpm
patchelf           patchelf
dropbear           dropbear-bin
umoci              umoci
skopeo             skopeo
docker-registry    docker-registry
openssl            openssl
sftp-server        openssh-sftp-server
ssh                openssh-client
chromium           chromium
'

is_debian() {
  [ -r /etc/os-release ] && command -v apt-get >/dev/null || return 1
  (
    . /etc/os-release
    # testing and unstable have no VERSION_ID
    [ "${ID:-}" = debian ] && [ "${VERSION_ID:-99}" -ge 12 ] && [ "$(dpkg --print-architecture)" = amd64 ]
  )
}

debian_codename() { (. /etc/os-release && echo "${VERSION_CODENAME:-}"); }

# The release whose QEMU and kernel are new enough only in backports.
needs_backports() { is_debian && [ "$(debian_codename)" = bookworm ]; }

qemu_version() { qemu-system-x86_64 --version 2>/dev/null | sed -n '1s/.*version \([0-9][0-9.]*\).*/\1/p'; }

qemu_is_new_enough() { # installed by us: 10; elsewhere 8.2 is the least that works
  local version=$1 major minor
  major=${version%%.*} minor=${version#*.} minor=${minor%%.*}
  [ -n "$version" ] || return 1
  if is_debian; then [ "$major" -ge 10 ]; else [ "$major" -ge 9 ] || { [ "$major" -eq 8 ] && [ "$minor" -ge 2 ]; }; fi
}

has_tool() {
  case $1 in
    qemu-system-x86_64) qemu_is_new_enough "$(qemu_version)" ;;
    qboot.rom) has_qboot ;;
    busybox) command -v busybox >/dev/null && ! ldd "$(command -v busybox)" >/dev/null 2>&1 ;;
    setpriv | setcap | ip | mkfs.ext4 | mkfs.fat | mcopy | sfdisk | swtpm | dropbear | chromium) [ "$(uname)" = Darwin ] || command -v "$1" >/dev/null ;;
    OVMF.fd) ! is_debian || [ -e /usr/share/ovmf/OVMF.fd ] ;;
    mmdebstrap) ! is_debian || command -v mmdebstrap >/dev/null ;;
    virtiofsd) [ "$(uname)" = Darwin ] || [ -x /usr/libexec/virtiofsd ] || [ -x /usr/local/libexec/virtiofsd ] ;;
    sftp-server) [ "$(uname)" = Darwin ] || [ -x /usr/lib/sftp-server ] ;;
    *) command -v "$1" >/dev/null ;;
  esac
}

has_qboot() {
  local prefix
  prefix=$(command -v qemu-system-x86_64) && prefix=${prefix%/bin/*} || prefix=/usr
  [ -e "$prefix/share/qemu/qboot.rom" ] || [ -e /usr/share/qemu/qboot.rom ] || [ -e /usr/share/qemu-firmware/qboot.rom ]
}

# Prints a line "tool package" for each missing tool.
missing_tools() {
  local tool package
  while read -r tool package; do
    [ -z "$tool" ] || has_tool "$tool" || echo "$tool $package"
  done <<<"$SYSTEM_TOOLS"
}

# Runs this file as root: directly, or through sudo.
system_packages_as_root() {
  local script
  script=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/system-packages.sh
  if [ "$(id -u)" = 0 ]; then
    bash "$script" "$1"
  elif command -v sudo >/dev/null; then
    sudo bash "$script" "$1"
  else
    echo "setup: system packages need root, and there is no sudo. Run this, then start again:" >&2
    echo "  su -c 'bash $script $1'" >&2
    return 1
  fi
}

# --- from here on: as root, on Debian ---

quiet_apt() {
  local log status=0
  log=$(mktemp)
  DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=120 -o Acquire::Retries=3 \
    -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold "$@" </dev/null >"$log" 2>&1 || status=$?
  [ "$status" = 0 ] || { echo "setup: apt-get $* failed:" && tail -n 20 "$log"; } >&2
  rm -f "$log"
  return "$status"
}

# The machine's apt sources, one per line: URI, suite, keyring (or -), from both formats.
apt_sources() {
  local file
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    [ ! -r "$file" ] || awk '$1 == "deb" {
      key = "-"; i = 2
      if ($2 ~ /^\[/) while (i <= NF) {
        word = $i; gsub(/[][]/, "", word)
        if (word ~ /^signed-by=/) key = substr(word, 11)
        if ($(i++) ~ /\]$/) break
      }
      print $i, $(i + 1), key
    }' "$file"
  done
  for file in /etc/apt/sources.list.d/*.sources; do
    [ ! -r "$file" ] || grep -v '^#' "$file" | awk -v RS= -F'\n' '{
      uris = suites = ""; key = "-"; on = deb = 1
      for (i = 1; i <= NF; i++) {
        name = tolower($i); sub(/:.*/, "", name)
        value = $i; sub(/^[^:]*:[ \t]*/, "", value)
        if (name == "types") deb = (" " value " ") ~ / deb /
        if (name == "enabled") on = tolower(value) !~ /^(no|false|0|off)/
        if (name == "uris") uris = value
        if (name == "suites") suites = value
        if (name == "signed-by" && value ~ /^\//) key = value
      }
      if (!on || !deb) next
      n = split(uris, u, " "); m = split(suites, s, " ")
      for (i = 1; i <= n; i++) for (j = 1; j <= m; j++) print u[i], s[j], key
    }'
  done
}

# Debian 12: adds backports from the mirror this machine already uses, if no backports source is there.
add_backports() {
  local codename uri suite key
  codename=$(debian_codename)
  if apt_sources | awk -v s="$codename-backports" '$2 == s { found = 1 } END { exit !found }'; then return; fi
  read -r uri suite key <<<"$(apt_sources | awk -v c="$codename" '$2 == c || $2 == "stable" || $2 == "oldstable"' | head -n 1)"
  if [ -z "$uri" ]; then
    echo "setup: no apt source for $codename found: add one for $codename-backports, where QEMU 10 is" >&2
    return 1
  fi
  [ "$key" != - ] || key=/usr/share/keyrings/debian-archive-keyring.gpg
  cat >/etc/apt/sources.list.d/nephos-backports.sources <<END
# Written by Nephos' set-up: QEMU 10 and a 6.12 kernel for Debian 12
Types: deb
URIs: $uri
Suites: $codename-backports
Components: main
Signed-By: $key
END
}

refresh() {
  ! needs_backports || add_backports
  quiet_apt update
}

install_missing() {
  local release='' plain='' newer='' fsd='' tool package
  ! needs_backports || release=$(debian_codename)-backports
  while read -r tool package; do
    case $package in
      '') ;;
      virtiofsd) if needs_backports; then fsd=yes; else plain="$plain $package"; fi ;;
      qemu-*) newer="$newer $package" ;;
      *) plain="$plain $package" ;;
    esac
  done <<<"$(missing_tools)"
  [ -n "$plain$newer$fsd" ] || return 0
  refresh
  # shellcheck disable=SC2086 # lists of words
  [ -z "$plain" ] || quiet_apt install --no-install-recommends $plain
  # shellcheck disable=SC2086
  [ -z "$newer" ] || quiet_apt install --no-install-recommends ${release:+-t "$release"} $newer
  [ -z "$fsd" ] || install_older_virtiofsd
}

# Debian 12 has virtiofsd in its own QEMU's package only, which cannot be there beside QEMU 10: the file alone is taken.
install_older_virtiofsd() {
  local work version
  work=$(mktemp -d)
  version=$(apt-cache madison qemu-system-common | awk -F'|' '{ gsub(/ /, "", $2); print $2 }' | grep '^1:7\.' | head -n 1)
  (cd "$work" && apt-get download -q -o APT::Sandbox::User=root "qemu-system-common=$version" && dpkg-deb -x ./*.deb .) >/dev/null
  quiet_apt install --no-install-recommends libseccomp2 libcap-ng0 libnuma1 libglib2.0-0
  install -D "$work/usr/lib/qemu/virtiofsd" /usr/local/libexec/virtiofsd
  rm -rf "$work"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  set -euo pipefail
  case ${1:-install} in
    install) install_missing ;;
    refresh) refresh ;;
    *) echo "usage: $0 [install|refresh]" >&2 && exit 2 ;;
  esac
fi
