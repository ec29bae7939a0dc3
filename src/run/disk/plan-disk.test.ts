import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RunError } from '../errors.ts';
import type { RunRequest } from '../run-request.ts';
import { testRunRequest } from '../test-run-request.ts';
import { cloudInitSeed } from './cloud-init.ts';
import { credentialStrings } from './credentials.ts';
import { contextIdOf, machineIdOf } from './guest-identity.ts';
import { describeGuest, planDiskVm } from './plan-disk.ts';

const REQUEST = testRunRequest({
  image: './debian.qcow2',
  command: [],
  cpus: 2,
  memory: 2 ** 30,
  network: 'none',
});

const VM = { name: 'a', id: '0123456789ab' };
const KEYS = { authorizedKey: 'ssh-ed25519 AAAA user', hostKey: 'HOST KEY\n' };
const FILES = {
  disk: '/d',
  seed: '/s',
  guest: '/g.sock',
  console: '/c.sock',
  serial: '/serial',
  variables: '/vars',
};
const MACHINE = { request: REQUEST, firmware: { path: '/fw', hasVariables: true } };

const describe = (request: Partial<RunRequest> = {}) => describeGuest({ ...REQUEST, ...request }, VM, KEYS);

/** Credentials by name, as the guest decodes them. */
function credentials(request: Partial<RunRequest> = {}): Map<string, string> {
  const prefix = 'io.systemd.credential.binary:';
  return new Map(
    credentialStrings(describe(request))
      .filter((text) => text.startsWith(prefix))
      .map((text) => {
        const [name = '', ...value] = text.slice(prefix.length).split('=');
        return [name, Buffer.from(value.join('='), 'base64').toString()];
      }),
  );
}

test('a disk image boots from its overlay by firmware, with a vsock and a seed disk', () => {
  const { oem_strings: strings = [], ...platform } = planDiskVm(MACHINE, describe(), FILES).platform ?? {};
  assert.deepEqual(platform, {});
  assert.deepEqual(strings, credentialStrings(describe()));
  const { platform: _, ...config } = planDiskVm(MACHINE, describe(), FILES);
  assert.deepEqual(config, {
    cpus: { boot_vcpus: 2, max_vcpus: 2 },
    memory: { size: 2 ** 30 },
    kernel: { path: '/fw' },
    payload: { firmware: '/fw', firmware_vars: '/vars' },
    pvpanic: true,
    disks: [
      { id: 'disk', path: '/d', image_type: 'Qcow2', backing_files: true },
      { id: 'seed', path: '/s', image_type: 'Raw', readonly: true },
    ],
    serial: { mode: 'File', file: '/serial' },
    console: { mode: 'Socket', socket: '/c.sock', port: 'nephos.ssh' },
    vsock: { cid: contextIdOf(VM.id), socket: '/g.sock' },
  });
});

test('firmware without a flash image for variables has no file for them', () => {
  const firmware = { path: '/OVMF.fd', hasVariables: false };
  assert.deepEqual(planDiskVm({ request: REQUEST, firmware }, describe(), FILES).payload, {
    firmware: '/OVMF.fd',
  });
});

test('a kernel of the request replaces the firmware; its words come last', () => {
  const request = { ...REQUEST, kernel: '/k', initramfs: '/i', kernelArguments: 'root=/dev/vda2 debug' };
  const { kernel, initramfs, cmdline } = planDiskVm(
    { request, firmware: undefined },
    describe(request),
    FILES,
  );
  assert.deepEqual({ kernel, initramfs }, { kernel: { path: '/k' }, initramfs: { path: '/i' } });
  assert.match(
    cmdline?.args ?? '',
    /^console=ttyS0 root=\/dev\/vda1 rw systemd\.hostname=a .* root=\/dev\/vda2 debug$/,
  );
});

test('credentials: the key of the VM, units of the SSH server, readiness', () => {
  const found = credentials();
  assert.equal(found.get('vmm.notify_socket'), 'vsock-stream:2:28272');
  const lines = (found.get('tmpfiles.extra') ?? '').split('\n');
  const key = lines.find((line) => line.startsWith('f+~ /run/nephos/authorized_keys 0644 root root - '));
  assert.equal(Buffer.from(key?.split(' ').at(-1) ?? '', 'base64').toString(), `${KEYS.authorizedKey}\n`);
  assert.match(found.get('systemd.extra-unit.sshd-vsock.socket') ?? '', /^ListenStream=vsock::22$/m);
  assert.match(found.get('systemd.extra-unit.sshd-vsock@.service') ?? '', /^ExecStart=.*sshd_config$/m);
  assert.match(found.get('systemd.unit-dropin.sockets.target') ?? '', /^Wants=sshd-vsock\.socket$/m);
});

test('a network has DHCP; without one nothing waits for it', () => {
  assert.match(credentials({ network: 'user' }).get('network.network.99-nephos') ?? '', /^DHCP=ipv4$/m);
  const wait = 'systemd.unit-dropin.systemd-networkd-wait-online.service';
  assert.equal(credentials({ network: 'user' }).has(wait), false);
  assert.equal(credentials().has(wait), true);
});

test('volumes are lines of `fstab`, with escaped paths', () => {
  const volumes = [
    { host: '/h', guest: '/mnt/a b\\#', isReadOnly: true },
    { host: '/h2', guest: '/w', isReadOnly: false },
  ];
  assert.equal(
    credentials({ volumes }).get('fstab.extra'),
    'volume0 /mnt/a\\040b\\134\\043 virtiofs ro,nofail 0 0\nvolume1 /w virtiofs rw,nofail 0 0\n',
  );
});

test('volumes that are too much for SMBIOS are refused', () => {
  const volumes = Array.from({ length: 10 }, () => ({
    host: '/h',
    guest: `/${'x'.repeat(4000)}`,
    isReadOnly: false,
  }));
  assert.throws(
    () => credentialStrings(describe({ volumes })),
    (error) => error instanceof RunError && error.fault === 'invalid' && /fewer volumes/.test(error.message),
  );
});

test('the seed disk has the same access: key, units, host name, report of readiness', () => {
  const seed = cloudInitSeed(describe({ hostname: 'host_"b".' })).toString();
  assert.match(seed, /"instance-id":"0123456789ab","local-hostname":"host--b"/);
  for (const text of [`${KEYS.authorizedKey}\n`, KEYS.hostKey, 'ListenStream=vsock::22'])
    assert.ok(
      [0, 1, 2].some((shift) => seed.includes(base64Within(text, shift))),
      text,
    );
  assert.match(seed, /VMADDR_CID_HOST, 28272/);
});

/** Base64 of a text inside a longer one, at an offset of its bytes modulo 3: the digits that do not depend on their neighbours. */
function base64Within(text: string, shift: number): string {
  const padded = Buffer.concat([Buffer.alloc(shift), Buffer.from(text)]);
  return padded.toString('base64').slice(shift === 0 ? 0 : 4, Math.floor(padded.length / 3) * 4);
}

test('machine ids and context ids differ between VMs, and stay', () => {
  assert.match(machineIdOf('a'), /^[0-9a-f]{32}$/);
  assert.equal(machineIdOf('a'), machineIdOf('a'));
  assert.notEqual(machineIdOf('a'), machineIdOf('b'));
  assert.notEqual(contextIdOf('a'), contextIdOf('b'));
  assert.ok(contextIdOf('a') >= 3);
});
