#!/usr/bin/env bash
# Sets up a new Debian 12 or 13 machine; takes a second or two if nothing is missing.
# On other systems it lists the packages to install. Each step has a test that says whether it is done, which
# ensure-setup.sh uses as well. Bash 3.2 syntax (macOS).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/system-packages.sh
. scripts/guest/cache.sh

say() { echo "setup: $*"; }
fail() { echo "setup: $*" >&2 && exit 1; }

node_is_new_enough() { node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' 2>/dev/null; }

# npm writes this file when an installation is complete.
npm_is_done() { [ -e node_modules/.package-lock.json ] && [ ! package-lock.json -nt node_modules/.package-lock.json ]; }

# Compares folders, too: their time changes when a file is removed.
build_is_done() {
  [ -e build/.built ] && [ -z "$(find src tests bench scripts examples tsconfig.json package.json -newer build/.built -print 2>/dev/null | head -n 1)" ]
}

# Runs a step, silent if it works.
step() {
  local name=$1 log status=0 start=$SECONDS
  shift
  say "$name ..."
  log=$(mktemp)
  "$@" </dev/null >"$log" 2>&1 || status=$?
  if [ "$status" != 0 ]; then
    { head -n 10 "$log" && echo ... && tail -n 20 "$log"; } >&2
    rm -f "$log"
    fail "$name failed, the reason is above; fix it and run this set-up again"
  fi
  rm -f "$log"
  say "$name: done ($((SECONDS - start)) s)"
}

setup_node() {
  command -v node >/dev/null && command -v npm >/dev/null || fail "Node >= 20.19 with npm is needed (Debian 13: apt-get install nodejs npm)"
  node_is_new_enough || fail "Node >= 20.19 is needed, this is $(node --version)"
  say "node $(node --version)"
}

setup_system() {
  local missing
  missing=$(missing_tools | awk '{ printf "%s ", $1 }')
  if [ -z "$missing" ]; then
    say "system packages: QEMU $(qemu_version), nothing to do"
    return
  fi
  say "system packages: installing (missing: ${missing% }) ..."
  system_packages_as_root install || fail "system packages could not be installed, see above"
  missing=$(missing_tools | awk '{ printf "%s ", $1 }')
  [ -z "$missing" ] || fail "still missing after the installation: ${missing% }"
  say "system packages: done, QEMU $(qemu_version)"
}

# On systems without apt: names everything that is missing in one message.
check_elsewhere() {
  local missing guest=''
  missing=$(missing_tools | awk '{ printf "%s ", $1 }')
  guest_is_done || guest=yes
  # to run Nephos the guest's tools are not needed once the guest is there
  if [ -z "$guest" ]; then missing=$(echo "$missing" | sed 's/busybox //; s/cpio //; s/depmod //; s/socat //; s/iperf3 //; s/perl //; s/virtiofsd //; s/qemu-storage-daemon //'); fi
  [ -n "$missing$guest" ] || { say "system packages: QEMU $(qemu_version), nothing to do" && return; }
  {
    echo "setup: only Debian 12 and 13 (x86-64) are set up automatically. Missing here: ${missing:-nothing }${guest:+and the demo guest}"
    echo "  Install QEMU (10 recommended, 8.2 at least, with qemu-img and qboot.rom) and zstd, xz, lz4, curl:"
    echo "    Ubuntu  apt install qemu-system-x86 qemu-utils busybox-static cpio kmod zstd xz-utils lz4 curl"
    echo "    Fedora  dnf install qemu-system-x86 qemu-img busybox cpio kmod zstd xz lz4 util-linux curl"
    echo "    Arch    pacman -S qemu-system-x86 qemu-img busybox cpio kmod zstd xz lz4 util-linux curl"
    echo "    macOS   brew install qemu zstd xz lz4"
    [ -z "$guest" ] || {
      echo "  The demo guest is Debian's cloud kernel and a busybox initramfs. Run the set-up on a Debian machine and copy"
      echo "    its ~/.cache/nephos/guest/ to $(guest_dir)/"
    }
  } >&2
  exit 1
}

# Locks the tree: two set-ups at once would remove each other's node_modules.
lock_tree() {
  command -v flock >/dev/null || return 0
  exec 9<.
  flock 9
}

# `npm ci` refuses a lock file without the other platforms' optional packages, and that is what npm writes
# where a registry mirror lacks them. The second command fills them in and leaves the lock file alone.
install_npm_packages() {
  # no package here needs its install script; those of ssh2 would look for a C compiler
  npm ci --ignore-scripts --no-audit --no-fund || npm install --ignore-scripts --no-save --no-audit --no-fund
}

build() {
  mkdir -p build
  # stamped before the compiler reads: files that are edited during the build count as newer
  touch build/.built.new && npm run --silent build && mv build/.built.new build/.built
}

setup() {
  lock_tree
  setup_node
  if is_debian; then setup_system; else check_elsewhere; fi
  if npm_is_done; then say "npm packages: nothing to do"; else step "npm packages" install_npm_packages; fi
  if build_is_done; then say "build: nothing to do"; else step "build" build; fi
  if ! is_debian || { guest_is_done && guest_kernel_is_newest; }; then
    say "demo guest: nothing to do"
  else
    step "demo guest" bash scripts/guest/build.sh
  fi
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then setup; fi
