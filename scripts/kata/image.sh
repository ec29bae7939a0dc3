#!/usr/bin/env bash
# Makes an OCI image of static busybox as a tar archive for `ctr images import`, without a registry.
# Usage: image.sh <name with tag> <target.tar> [<folder that gets the root file system too>]
set -euo pipefail
name=$1 target=$2 keep=${3:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root blobs=$work/image/blobs/sha256
mkdir -p "$root"/{bin,etc,proc,sys,dev,tmp,root} "$blobs"

cp "$(command -v busybox)" "$root/bin/busybox"
for applet in $("$root/bin/busybox" --list); do
  [ -e "$root/bin/$applet" ] || ln -s busybox "$root/bin/$applet"
done
echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
[ -z "$keep" ] || cp -a "$root/." "$keep/"

# Moves a file to the place that its contents give it, and prints its digest and size as JSON members.
blob() {
  local sum
  sum=$(sha256sum "$1" | cut -d ' ' -f 1)
  printf '"digest":"sha256:%s","size":%s' "$sum" "$(stat -c %s "$1")"
  mv "$1" "$blobs/$sum"
}

tar -C "$root" --sort=name --mtime=@0 --owner=0 --group=0 -cf "$work/layer" .
diff=$(sha256sum "$work/layer" | cut -d ' ' -f 1)
layer=$(blob "$work/layer")
media=application/vnd.oci.image
architecture=$(dpkg --print-architecture)
echo '{"architecture":"'"$architecture"'","os":"linux","config":{"Cmd":["/bin/sleep","86400"],"Env":["PATH=/bin"]},
"rootfs":{"type":"layers","diff_ids":["sha256:'"$diff"'"]}}' >"$work/config"
config=$(blob "$work/config")
echo '{"schemaVersion":2,"mediaType":"'$media'.manifest.v1+json","config":{"mediaType":"'$media'.config.v1+json",'"$config"'},
"layers":[{"mediaType":"'$media'.layer.v1.tar",'"$layer"'}]}' >"$work/manifest"
manifest=$(blob "$work/manifest")
echo '{"imageLayoutVersion":"1.0.0"}' >"$work/image/oci-layout"
echo '{"schemaVersion":2,"manifests":[{"mediaType":"'$media'.manifest.v1+json",'"$manifest"',
"annotations":{"io.containerd.image.name":"'"$name"'"}}]}' >"$work/image/index.json"
tar -C "$work/image" -cf "$target" .
