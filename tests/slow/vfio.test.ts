// VFIO with a real device: a VM with a network card behind its vIOMMU runs this project from the host's folders, and
// passes the card to a nested VM, which is emulated twice.
import assert from 'node:assert/strict';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { startFsBackend } from '../support/backends.ts';
import { boot } from '../support/boot.ts';
import { INITRAMFS, KERNEL } from '../support/guest.ts';
import type { Shell } from '../support/shell.ts';
import { REPO, startVmm } from '../support/vmm.ts';
import { until } from '../support/wait.ts';

/** In the first slot after the chip set's, as there is no console. */
const CARD = '/sys/bus/pci/devices/0000:00:02.0';
/** virtio's vendor, and its network card's device */
const IDS = '0x1af4 0x1041';
/** A guest in a guest takes minutes to boot. */
const PATIENCE_MS = 30 * 60_000;

/** The inner guest prints its devices in a loop, and requests an address through the card. */
const INNER_LOOP = [
  'while sleep 1; do modprobe -q virtio_net',
  'for d in /sys/bus/pci/devices/*; do echo pci ${d##*/} $(cat $d/vendor $d/device); done',
  '[ ! -e /sys/class/net/eth0 ] || { ifconfig eth0 up; udhcpc -i eth0 -n -q -s /bin/true 2>&1; }',
  'echo turn',
  'done',
].join('; ');

test('a network card of the host is passed through, removed and added again', async () => {
  await using vmm = await startVmm();
  const shares = ['/usr', REPO, dirname(KERNEL)] as const;
  const at = (i: number): string => join(vmm.folder, `share${i}`);
  await using _usr = startFsBackend(at(0), shares[0]);
  await using _repo = startFsBackend(at(1), shares[1]);
  await using _guest = startFsBackend(at(2), shares[2]);
  using shell = await boot(vmm, {
    cpus: { boot_vcpus: 2, max_vcpus: 2 },
    memory: { size: 2 * 2 ** 30, shared: true },
    net: [{ backend: 'user', iommu: true }],
    fs: shares.map((_, i) => ({ tag: `share${i}`, socket: at(i) })),
    iommu: true,
  });
  await makeHost(shell, shares);
  assert.equal(await shell.run(`echo $(cat ${CARD}/vendor ${CARD}/device)`), IDS);
  await startInner(shell);

  await innerShows(shell, 0, (text) => hasCard(text) && text.includes('lease of'));
  let seen = await shownBytes(shell);
  assert.equal(await remote(shell, 'remove-device card'), '');
  await innerShows(shell, seen, (text) => hasTurn(text) && !hasCard(lastTurn(text)));
  seen = await shownBytes(shell);
  assert.match(await remote(shell, `add-device path=${CARD},id=again`), /"id": ?"again"/);
  await innerShows(shell, seen, (text) => hasCard(text) && text.includes('lease of'));
});

/** A root folder of the host's shares, with the devices of the guest in it, and the card bound to vfio-pci. */
async function makeHost(shell: Shell, shares: readonly string[]): Promise<void> {
  for (const [i, folder] of shares.entries()) {
    await shell.run(`mkdir -p /host${folder}; mount -t virtiofs -o ro share${i} /host${folder}`);
  }
  await shell.run('cd /host; for d in bin sbin lib lib64; do ln -s usr/$d $d; done; mkdir tmp');
  await shell.run('for d in dev proc sys; do mkdir $d; mount --rbind /$d $d; done; cd');
  // no emulated IOMMU that Debian's cloud kernel has a driver for remaps interrupts
  await shell.run('modprobe vfio_iommu_type1 allow_unsafe_interrupts=1; modprobe vfio-pci');
  await shell.run(`echo vfio-pci >${CARD}/driver_override; echo 0000:00:02.0 >${CARD}/driver/unbind`);
  await shell.run('echo 0000:00:02.0 >/sys/bus/pci/drivers_probe');
  assert.match(await shell.run(`readlink ${CARD}/driver`), /\/vfio-pci$/);
}

async function startInner(shell: Shell): Promise<void> {
  const script = [
    `cd ${REPO}; export NEPHOS_CACHE=/tmp/cache PATH=/usr/sbin:/usr/bin:/sbin:/bin`,
    `exec node bin/cloud-hypervisor -v --api-socket path=/tmp/api --kernel ${KERNEL} --initramfs ${INITRAMFS} \\`,
    `--memory size=192M --serial file=/tmp/serial --console off --device path=${CARD},id=card \\`,
    `--cmdline 'console=ttyS0 nephos.run="${INNER_LOOP}"'`,
  ].join('\n');
  await shell.run(`echo ${Buffer.from(script).toString('base64')} | base64 -d >/host/tmp/vm.sh`);
  await shell.run('(chroot /host sh /tmp/vm.sh >/host/tmp/log 2>&1 &)');
}

/** Runs ch-remote beside the inner VM and returns what it printed. */
function remote(shell: Shell, words: string): Promise<string> {
  return shell.run(
    `chroot /host /usr/bin/env PATH=/usr/bin node ${REPO}/bin/ch-remote --api-socket /tmp/api ${words} 2>&1`,
    PATIENCE_MS,
  );
}

async function shownBytes(shell: Shell): Promise<number> {
  return Number(await shell.run('stat -c %s /host/tmp/serial'));
}

/** Waits until the inner guest has printed the expected output since then. */
async function innerShows(shell: Shell, since: number, holds: (text: string) => boolean): Promise<void> {
  let text = '';
  await until(
    'the inner guest shows it',
    async () => {
      text = await shell.run(
        `sleep 2; tail -c +${since + 1} /host/tmp/serial 2>/dev/null | grep -E "^(pci|turn|.*lease of)"; tail -n 3 /host/tmp/log`,
        PATIENCE_MS,
      );
      return holds(text);
    },
    () => text,
    PATIENCE_MS,
  );
}

const hasCard = (text: string): boolean => text.includes(` ${IDS}`);
const hasTurn = (text: string): boolean => text.split('\nturn').length > 2;
/** Output between the last two ends of a loop. */
const lastTurn = (text: string): string => text.split('\nturn').at(-2) ?? '';
