// A guest whose systemd reads no credentials: cloud-init configures its SSH server from the seed disk, and reports that it is ready.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { VirtualMachine, type NotifyMessage } from 'nephos';
import { cloudInitSeed } from '../../src/run/disk/cloud-init.ts';
import { generateSshKeyPair } from '../../src/run/disk/key-pair.ts';
import { qcow2Overlay } from '../../src/run/disk/qcow2-overlay.ts';
import { inspectDiskImage } from '../../src/host/disk/disk-image.ts';
import { debianDisk } from '../support/debian.ts';
import { until } from '../support/wait.ts';

/** Limit of the boot, on a busy machine, in milliseconds. */
const BOOT_MS = 600_000;

test('cloud-init of an older guest: access, host name, report of readiness', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'nephos-seed-'));
  try {
    const path = debianDisk();
    const request = { path, format: 'Qcow2', readonly: true, direct: false, anyBackingFile: false } as const;
    const { bytes } = await inspectDiskImage({ ...request, ioUring: false, rawImages: new Set() });
    const [overlay, seed] = [join(folder, 'overlay'), join(folder, 'seed')];
    writeFileSync(overlay, qcow2Overlay(bytes, { path, format: 'Qcow2' }));
    const [user, host] = [await generateSshKeyPair('user'), await generateSshKeyPair('host')];
    const keys = { authorizedKey: user.publicKey, hostKey: host.privateKey };
    writeFileSync(
      seed,
      cloudInitSeed({ id: '0123456789ab', hostname: 'seeded', keys, volumes: [], hasNetwork: false }),
    );
    const messages: NotifyMessage[] = [];
    await using vm = await VirtualMachine.launch(
      {
        cpus: { boot_vcpus: 2, max_vcpus: 2 },
        memory: { size: 2 ** 30 },
        kernel: { path: '/usr/share/ovmf/OVMF.fd' },
        disks: [
          { path: overlay, backing_files: true },
          { path: seed, readonly: true, image_type: 'Raw' },
        ],
        serial: { mode: 'File', file: join(folder, 'serial') },
        vsock: { cid: 3, socket: join(folder, 'v') },
        // systemd of this guest is new: its waits for a network card that is not there would take two minutes
        platform: {
          oem_strings: [
            'io.systemd.credential:systemd.unit-dropin.systemd-networkd-wait-online.service=[Service]\nExecStart=\nExecStart=/bin/true',
          ],
        },
      },
      {
        // the port of the reports, without the credential: those of systemd itself do not arrive
        guest: { privateKey: user.privateKey },
        notify: (message) => messages.push(message),
      },
    );
    const isDone = (): boolean => messages.some(({ status }) => status === 'cloud-init is done.');
    await vm.ready({ timeoutMs: BOOT_MS });
    // modules of cloud-init that need packages of a larger image may fail: the status is shown, not checked
    const { stdout } = await vm.exec('cloud-init status --wait --long; hostname');
    assert.match(stdout, /\nseeded\n$/);
    await until('cloud-init has reported', isDone).catch((error: unknown) => {
      throw new Error(`cloud-init did not report: ${stdout}`, { cause: error });
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
});
