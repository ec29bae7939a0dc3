#!/usr/bin/env bash
# Makes an initrd for Kata Containers: the modules of the demo guest's kernel, busybox, and kata-agent as the init process.
# Usage: initrd.sh <kata-agent> <target>
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../guest/cache.sh"

# vsock and overlay are modules of Debian's kernels, and the agent needs them at once.
modules='virtio_pci virtio_blk virtio_net vmw_vsock_virtio_transport virtio_balloon virtio-rng overlay af_packet'

agent=$1 target=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root

mkdir -p "$root"/{bin,sbin,usr/bin,usr/sbin,proc,sys,dev,run,tmp,etc,mnt,var/lib,lib/modules}
cp "$(command -v busybox)" "$root/bin/busybox"
ln -s busybox "$root/bin/sh"
install -m 755 "$agent" "$root/usr/bin/kata-agent"
ldd "$agent" 2>/dev/null | grep -o '/[^ ]*' | while read -r file; do
  install -D -m 755 "$file" "$root/$file"
done
touch "$root/etc/resolv.conf"

dpkg-deb -x "$(guest_dir)"/linux-image-*.deb "$work/kernel"
[ -d "$work/kernel/lib/modules" ] || mv "$work/kernel/usr/lib" "$work/kernel/lib"
release=$(ls "$work/kernel/lib/modules")
depmod -b "$work/kernel" "$release" 2>/dev/null
for module in $modules; do
  modprobe -d "$work/kernel" -S "$release" --show-depends "$module" 2>/dev/null || true
done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r file; do
  name=$(basename "$file")
  case $name in
    *.xz) xz -dc "$file" >"$root/lib/modules/${name%.xz}" ;;
    *.zst) zstd -qdc "$file" >"$root/lib/modules/${name%.zst}" ;;
    *) cp "$file" "$root/lib/modules/$name" ;;
  esac
  name=${name%.xz}
  echo "${name%.zst}" >>"$root/lib/modules/order"
done

cat >"$root/init" <<'INIT'
#!/bin/sh
while read -r module; do /bin/busybox insmod "/lib/modules/$module"; done </lib/modules/order
exec /usr/bin/kata-agent
INIT
chmod 755 "$root/init"
(cd "$root" && find . -mindepth 1 | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0) | gzip -1 >"$target"
