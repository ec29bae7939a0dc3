# Folder of the demo guest, and the test for its age. Sourced by the set-up and the build.

guest_scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

guest_dir() { echo "${NEPHOS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/nephos}/guest"; }

# Checksum of the sources of the initramfs besides the kernel: these scripts and busybox.
guest_fingerprint() {
  (cd "$guest_scripts" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 cat "$(command -v busybox || echo /dev/null)") | cksum
}

# The stamp's lines: the fingerprint, the kernel package's version. Without busybox (elsewhere than on Debian)
# a guest that was copied here is taken as it is.
guest_is_done() {
  local dir
  dir=$(guest_dir)
  [ -s "$dir/vmlinuz" ] && [ -s "$dir/initramfs.cpio.gz" ] && [ -s "$dir/initramfs-tools.cpio" ] && [ -e "$dir/stamp" ] || return 1
  ! is_debian || [ "$(head -n 1 "$dir/stamp")" = "$(guest_fingerprint)" ]
}

# The newest 6.12 (the kernel Nephos is tested with) that apt knows; else the newest of all.
guest_kernel_version() {
  local versions
  versions=$(apt-cache madison linux-image-cloud-amd64 2>/dev/null | awk -F'|' '{ gsub(/ /, "", $2); print $2 }' | sort -V)
  { echo "$versions" | grep '^6\.12\.' || echo "$versions"; } | tail -n 1
}

guest_kernel_is_newest() { [ "$(sed -n 2p "$(guest_dir)/stamp")" = "$(guest_kernel_version)" ]; }
