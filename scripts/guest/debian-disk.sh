#!/usr/bin/env bash
# Makes a disk image of Debian 13, as distributions publish them: a partition table (GPT), an EFI system partition with systemd-boot,
# and an ext4 root file system with systemd, an SSH server and cloud-init. It has no machine id, no
# passwords and no network configuration. Tests run it. Needs root, for the owners of the files; neither loop devices
# nor mounts.
# Prints the path of the image (qcow2). Takes a second if it is there already.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../system-packages.sh"
. "$here/cache.sh"

packages=systemd-sysv,systemd-boot-efi,libpam-systemd,dbus,udev,kmod,login,passwd,procps,openssh-server,cloud-init
packages=$packages,linux-image-cloud-amd64,initramfs-tools,zstd

mib=$((1024 * 1024))
esp_mib=64 root_mib=1536
# one MiB more than the partitions: the second partition table
disk_mib=$((1 + esp_mib + root_mib + 1))
root_id=5f1f4c5a-6b7c-4d0e-9a52-0d6c3e6b1d01

fail() { echo "debian-disk: $*" >&2 && exit 1; }

main() {
  local dir stamp
  dir=$(dirname "$(guest_dir)")/debian-13-disk
  mkdir -p "$dir"
  exec 8<"$dir" && flock 8 # two at once: the second finds the work done
  stamp=$(cat "${BASH_SOURCE[0]}" | cksum)
  if [ "$(cat "$dir/stamp" 2>/dev/null)" != "$stamp" ]; then
    [ "$(id -u)" = 0 ] || fail "needs root, for the owners of the files: run  sudo -E bash $0"
    [ -z "$(missing_tools)" ] || bash "$here/../system-packages.sh" install >&2
    rm -rf "$dir"/*
    make_root "$dir/root" >&2 && make_image "$dir" >&2 || fail "the image could not be made, the reason is above"
    rm -rf "$dir/root"
    echo "$stamp" >"$dir/stamp"
  fi
  echo "$dir/debian-13.qcow2"
}

# The mirror that this machine's apt uses for its own release has Debian 13 too.
make_root() {
  local root=$1 mirror key
  read -r mirror _ key <<<"$(apt_sources | awk -v c="$(debian_codename)" '$2 == c || $2 == "stable"' | head -n 1)"
  [ -n "$mirror" ] || fail "no apt source for $(debian_codename) found"
  [ "$key" != - ] || key=/usr/share/keyrings/debian-archive-keyring.gpg
  mmdebstrap --quiet --variant=minbase --include="$packages" \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --essential-hook='mkdir -p "$1/etc/initramfs-tools/conf.d" && printf "%s\n" ext4 virtio_blk virtio_pci >"$1/etc/initramfs-tools/modules"' \
    --essential-hook='echo MODULES=list >"$1/etc/initramfs-tools/conf.d/modules"' \
    --customize-hook='systemctl --root="$1" -q enable systemd-networkd' \
    --customize-hook=': >"$1/etc/machine-id"; echo debian >"$1/etc/hostname"' \
    trixie "$root" "deb [signed-by=$key] $mirror trixie main"
  rm -rf "$root"/var/cache/apt/*.bin "$root"/var/lib/apt/lists/*
  echo "PARTUUID=$root_id / ext4 errors=remount-ro 0 1" >"$root/etc/fstab"
  # else systemd renews the caches of the linker, of users and of messages at the first boot, a minute under emulation
  touch "$root/etc/.updated" "$root/var/.updated"
}

make_image() {
  local dir=$1 raw=$1/disk.raw
  make_esp "$dir/root" "$dir/esp.fat"
  truncate -s "${root_mib}M" "$dir/root.ext4"
  # the kernel and its initramfs are on the EFI system partition
  rm -f "$dir"/root/boot/initrd.img-* "$dir"/root/boot/vmlinuz-*
  mkfs.ext4 -q -L root -d "$dir/root" "$dir/root.ext4"
  truncate -s "${disk_mib}M" "$raw"
  sfdisk --quiet "$raw" <<END
label: gpt
first-lba: 2048
size=${esp_mib}MiB, type=uefi, name=esp
size=${root_mib}MiB, type=4f68bce3-e8cd-4db1-96e7-fbcaf984b709, uuid=$root_id, name=root
END
  dd if="$dir/esp.fat" of="$raw" bs="$mib" seek=1 conv=notrunc,sparse status=none
  dd if="$dir/root.ext4" of="$raw" bs="$mib" seek=$((1 + esp_mib)) conv=notrunc,sparse status=none
  qemu-img convert -f raw -O qcow2 "$raw" "$dir/debian-13.qcow2"
  rm -f "$raw" "$dir/esp.fat" "$dir/root.ext4"
}

# The fallback path of removable media (UEFI 2.10, 3.5.1.1): a firmware without variables boots it.
make_esp() {
  local root=$1 esp=$2
  mkfs.fat -C -F 32 -n ESP "$esp" $((esp_mib * 1024)) >/dev/null
  mmd -i "$esp" ::EFI ::EFI/BOOT ::loader ::loader/entries
  mcopy -i "$esp" "$root/usr/lib/systemd/boot/efi/systemd-bootx64.efi" ::EFI/BOOT/BOOTX64.EFI
  mcopy -i "$esp" "$root"/boot/vmlinuz-* ::vmlinuz
  mcopy -i "$esp" "$root"/boot/initrd.img-* ::initrd.img
  echo 'timeout 0' | mcopy -i "$esp" - ::loader/loader.conf
  printf '%s\n' 'title Debian 13' 'linux /vmlinuz' 'initrd /initrd.img' \
    "options root=PARTUUID=$root_id ro console=ttyS0" | mcopy -i "$esp" - ::loader/entries/debian.conf
}

main
