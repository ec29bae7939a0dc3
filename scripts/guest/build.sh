#!/usr/bin/env bash
# Builds the demo guest: Debian's cloud kernel as it is, and an initramfs of static busybox, the modules the
# guest's devices need and the files of rootfs/; beside it the same with the tests' tools (tools.sh). Only the finished files reach the cache, by rename.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../system-packages.sh"
. "$here/cache.sh"
. "$here/tools.sh"

# Skips modules that are built in, and modules that this kernel does not have.
modules='
virtio_pci virtio_mmio virtio_blk virtio_net virtio_console virtio_balloon virtio_mem virtio_rng virtio-rng
virtio_pmem nd_pmem nd_btt dax_pmem device_dax kmem virtio_scsi sd_mod sr_mod
vsock vmw_vsock_virtio_transport virtio-iommu virtiofs fuse i6300esb pvpanic-pci evdev button
ext4 vfat nls_cp437 nls_ascii nls_iso8859-1 nls_utf8 isofs overlay squashfs af_packet
e1000e vfio-pci vfio_iommu_type1 virtio_input virtio_crypto nvme qemu_fw_cfg
'

fail() { echo "guest: $*" >&2 && exit 1; }

main() {
  local dir version
  dir=$(guest_dir)
  mkdir -p "$dir"
  exec 8<"$dir" && flock 8 # two set-ups at once: the second finds the work done
  find_kernel
  if guest_is_done && guest_kernel_is_newest; then return; fi
  rm -rf "$dir"/.building.* # of a build that was killed
  work=$(mktemp -d "$dir/.building.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  fetch_kernel
  make_root
  add_modules
  pack
  publish
}

# apt's lists may be absent, or without backports.
find_kernel() {
  version=$(guest_kernel_version)
  case $version in
    6.12.* | 6.[2-9]* | [7-9].* | [1-9][0-9].*) return ;;
  esac
  system_packages_as_root refresh
  version=$(guest_kernel_version)
  [ -n "$version" ] || fail "apt knows no linux-image-cloud-amd64: check the machine's apt sources"
}

fetch_kernel() {
  download_kernel || { system_packages_as_root refresh && find_kernel && download_kernel; } ||
    fail "the kernel package could not be downloaded"
  dpkg-deb -x "$work"/linux-image-*.deb "$work/kernel"
  release=$(basename "$work"/kernel/boot/vmlinuz-*) release=${release#vmlinuz-}
}

# The meta package names the package of the release; it is kept, for the next change of the scripts.
download_kernel() {
  local package kept
  package=$(apt-cache show "linux-image-cloud-amd64=$version" | sed -n 's/^Depends:.*\(linux-image-[0-9][^ ,]*\).*/\1/p' | head -n 1)
  kept=$(guest_dir)/linux-image-$version.deb
  if ! dpkg-deb -f "$kept" Package >/dev/null 2>&1; then
    (cd "$work" && apt-get download -q -o APT::Sandbox::User=root "$package=$version") || return 1
    rm -f "$(guest_dir)"/linux-image-*.deb
    mv "$work"/linux-image-*.deb "$kept"
  fi
  ln -f "$kept" "$work/linux-image-kernel.deb"
}

make_root() {
  root=$work/root
  mkdir -p "$root"/{bin,sbin,usr/bin,usr/sbin,proc,sys,dev,run,tmp,root,mnt,etc,var/log,lib/modules}
  ln -s ../run "$root/var/run"
  cp -R "$here/rootfs/." "$root/"
  cp "$(command -v busybox)" "$root/bin/busybox"
  local applet
  # the same as `busybox --install -s`, at build time: the guest boots faster
  for applet in $("$root/bin/busybox" --list-full); do
    # applets for Debian's packages have no use in a guest without packages
    case $applet in bin/busybox | *dpkg* | *rpm*) continue ;; esac
    mkdir -p "$root/$(dirname "$applet")"
    [ -e "$root/$applet" ] || ln -s /bin/busybox "$root/$applet"
  done
}

# The chosen modules with all they depend on, unpacked: the guest's busybox cannot read .xz modules.
add_modules() {
  local from=$work/kernel to=$root module file
  [ -d "$from/lib/modules" ] || from=$from/usr
  depmod -b "$from" "$release" 2>/dev/null
  mkdir -p "$to/lib/modules/$release"
  for module in $modules; do
    modprobe -d "$from" -S "$release" --show-depends "$module" 2>/dev/null || true
  done | awk '$1 == "insmod" { print $2 }' | sort -u >"$work/modules"
  while read -r file; do
    local target=$to/lib/modules/$release/${file#*/lib/modules/"$release"/}
    mkdir -p "$(dirname "$target")"
    case $file in
      *.xz) xz -dc "$file" >"${target%.xz}" ;;
      *.zst) zstd -qdc "$file" >"${target%.zst}" ;;
      *.gz) gzip -dc "$file" >"${target%.gz}" ;;
      *) cp "$file" "$target" ;;
    esac
  done <"$work/modules"
  cp "$from/lib/modules/$release"/modules.{builtin,builtin.modinfo,order} "$to/lib/modules/$release/"
  depmod -b "$to" "$release"
  # busybox reads the text files only; each file less is time gained in the guest
  rm -f "$to/lib/modules/$release"/modules.{*.bin,symbols,devname,softdep,weakdep,builtin.modinfo,order}
}

pack() {
  find "$root" -exec touch -h -d @0 {} +
  (cd "$root" && find . -mindepth 1 | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0 --reproducible) >"$work/initramfs.cpio"
  gzip -n -9 -c "$work/initramfs.cpio" >"$work/initramfs.cpio.gz"
  (pack_tools "$work/initramfs.cpio" "$work/initramfs-tools.cpio")
  cp "$work"/kernel/boot/vmlinuz-* "$work/vmlinuz"
}

# The stamp is removed first and written last: an interrupted build is repeated.
publish() {
  local dir
  dir=$(guest_dir)
  { guest_fingerprint && echo "$version"; } >"$work/stamp"
  rm -f "$dir/stamp"
  mv "$work/vmlinuz" "$work/initramfs.cpio.gz" "$work/initramfs-tools.cpio" "$dir/"
  mv "$work/stamp" "$dir/stamp"
  echo "guest: $dir (kernel $release, initramfs $(du -k "$dir/initramfs.cpio.gz" | cut -f 1) KiB)"
}

main
