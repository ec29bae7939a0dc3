# The tools that only tests and benches use in the guest, with the libraries they load. They stay out of the demo
# guest's initramfs, where every byte costs time at boot: an archive behind that one holds them. Sourced by build.sh.

guest_tools='socat iperf3 perl'

# Copies each program of this machine and its libraries, to the paths where the programs look for them.
tool_files() {
  local tool path
  for tool in $guest_tools; do
    path=$(command -v "$tool") || { echo "guest: $tool was not found" >&2 && return 1; }
    echo "$path"
    ldd "$path" | grep -o '/[^ ]*'
  done | sort -u
}

# Makes the initramfs with the tools from the one without: an initramfs may be several archives in a row.
pack_tools() {
  local demo=$1 target=$2 root=$work/tools file
  tool_files >"$work/tool-files"
  while read -r file; do
    mkdir -p "$root/$(dirname "$file")"
    cp -L "$file" "$root/$file"
    chmod 755 "$root/$file"
  done <"$work/tool-files"
  find "$root" -exec touch -h -d @0 {} +
  { cat "$demo" && cd "$root" && find . -mindepth 1 | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0 --reproducible; } >"$target"
}
