// Images of the host that a guest must neither choose nor destroy: formats, backing files, clones, damaged headers.
import assert from 'node:assert/strict';
import {
  copyFileSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join, relative } from 'node:path';
import { after, test } from 'node:test';
import type { VmConfigInput } from '../src/config/vm-config.ts';
import { type Answer, assertRefused, assertStatus } from './support/answers.ts';
import { boot } from './support/boot.ts';
import { bootDamaged, bootDisks } from './support/damaged-images.ts';
import { makeSeeds, mutationsOf, writeMutation } from './support/image-mutations.ts';
import { createImage } from './support/images.ts';
import { childrenOf } from './support/processes.ts';
import { randomFrom } from './support/random.ts';
import { openShell, type Shell } from './support/shell.ts';
import { editConfig, readConfig, takeSnapshot } from './support/snapshots.ts';
import { countersOf, infoOf, ptyOf, stateOf } from './support/vm-info.ts';
import { makeFolder, REPO, startVmm, type TestVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

const MIB = 2 ** 20;
const HOME = makeFolder();
after(() => rmSync(HOME, { recursive: true, force: true }));
const at = (...names: string[]): string => join(HOME, ...names);

type Json = Record<string, unknown>;

async function assertRefusedCleanly(vmm: TestVmm, answer: Answer, reason: RegExp): Promise<void> {
  assertRefused(answer, 500, reason);
  assert.deepEqual(childrenOf(vmm.pid), []);
}

test('a guest that writes a qcow2 header never reads the backing file in it', async (t) => {
  mkdirSync(at('tenants'));
  const neighbour = createImage(at('tenants', 'neighbour.raw'), '4M', ['-f', 'raw']);
  writeFileSync(neighbour, Buffer.alloc(4 * MIB, 'the secret of a neighbour '));
  const disk = createImage(at('tenants', 'guest.raw'), '4M', ['-f', 'raw']);
  const header = createImage(at('header'), '4M', ['-f', 'qcow2', '-b', neighbour, '-F', 'raw', '-u']);
  truncateSync(header, MIB);
  await using vmm = await startVmm();
  using shell = await boot(vmm, { disks: [{ path: disk }, { path: header, image_type: 'Raw' }] });
  await shell.run('dd if=/dev/vdb of=/dev/vda bs=64k conv=fsync 2>/dev/null');
  const beginsRaw = async (guest: Shell): Promise<void> =>
    assert.equal(await guest.run('head -c 3 /dev/vda'), 'QFI');

  await t.test('a reset keeps the format', async () => {
    shell.type('reboot -f\r');
    await until('the guest has reset itself', () => vmm.output().includes('the guest reset itself'));
    await shell.login();
    await beginsRaw(shell);
  });
  await t.test('so does the removal of the disk, when it is added again', async () => {
    const hot = { path: createImage(at('hot.raw'), '4M', ['-f', 'raw']), id: 'hot' };
    const isThere = async (): Promise<boolean> => (await shell.run('ls /sys/block')).includes('vdc');
    assertStatus(await vmm.put('vm.add-disk', hot), 200);
    await until('the disk is there', isThere);
    await shell.run('dd if=/dev/vdb of=/dev/vdc bs=64k conv=fsync 2>/dev/null');
    assertStatus(await vmm.put('vm.remove-device', { id: 'hot' }), 204);
    await until('the disk is removed', async () => !('hot' in (await countersOf(vmm))));
    assertStatus(await vmm.put('vm.add-disk', { path: hot.path, id: 'again' }), 200);
    await until('the disk is there again', isThere);
    assert.equal(await shell.run('head -c 3 /dev/vdc'), 'QFI');
  });
  await t.test('so does a snapshot', async () => {
    await takeSnapshot(vmm, at('of the guest'));
    assertStatus(await vmm.put('vm.delete'), 204);
    const source = { source_url: `file://${at('of the guest')}`, resume: true };
    assertStatus(await vmm.put('vm.restore', source), 204);
    using restored = openShell(await ptyOf(vmm));
    await beginsRaw(restored);
    assertStatus(await vmm.put('vm.delete'), 204);
    // an image at another path is unknown: its format must be named
    renameSync(disk, at('tenants', 'moved.raw'));
    const overrides = { disks: [{ id: '_disk0', path: at('tenants', 'moved.raw') }] };
    const moved = await vmm.put('vm.restore', { ...source, overrides });
    await assertRefusedCleanly(
      vmm,
      moved,
      /disk _disk0: .*moved\.raw: looks like Qcow2, but the saved disk is Raw/,
    );
    const named = { disks: [{ ...overrides.disks[0], image_type: 'Raw' }] };
    assertStatus(await vmm.put('vm.restore', { ...source, overrides: named }), 204);
    assertStatus(await vmm.put('vm.delete'), 204);
    renameSync(at('tenants', 'moved.raw'), disk);
  });
  await t.test('a new VM is refused, at boot and when the disk is added', async () => {
    const reason =
      /disk \S+: .*guest\.raw: was not declared but detected as Qcow2, .*neighbour\.raw.*backing_files=on/;
    await assertRefusedCleanly(vmm, await bootDisks(vmm, [{ path: disk }]), reason);
    assertStatus(await bootDisks(vmm, [{ path: disk, image_type: 'raw' }]), 204);
    const copy = at('tenants', 'copy of guest.raw');
    copyFileSync(disk, copy);
    const added = await vmm.put('vm.add-disk', { path: copy });
    assertRefused(added, 500, /was not declared but detected as Qcow2/);
    assertStatus(await vmm.put('vm.delete'), 204);
  });
  await t.test('a detected format is in the log, with the word that declares it', async () => {
    const plain = createImage(at('plain.qcow2'), '4M', ['-f', 'qcow2']);
    assertStatus(await bootDisks(vmm, [{ path: plain }]), 204);
    assert.match(vmm.output(), /disk _disk0: .*plain\.qcow2: format Qcow2 was detected .*image_type=qcow2/);
    const { config } = await infoOf(vmm);
    assert.equal(config.disks?.[0]?.image_type, 'Qcow2');
  });
});

/** Replaces members of the first disk of a configuration. */
const withDisk =
  (members: object) =>
  ({ disks, ...rest }: VmConfigInput): object => ({ ...rest, disks: [{ ...disks?.[0], ...members }] });

/** A copy of a snapshot whose config.json is edited. */
function edited(name: string, edit: (config: VmConfigInput) => object): string {
  mkdirSync(at(name));
  linkSync(at('snap', 'memory-ranges'), at(name, 'memory-ranges'));
  for (const file of ['state.json', 'manifest.json', 'config.json'])
    copyFileSync(at('snap', file), at(name, file));
  editConfig(at(name), edit);
  return at(name);
}

const write = (text: string, sector: number): string =>
  `echo ${text} | dd of=/dev/vda bs=512 seek=${sector} conv=sync,fsync 2>/dev/null`;
const read = (sector: number): string =>
  `dd if=/dev/vda bs=512 skip=${sector} count=1 iflag=direct 2>/dev/null | head -n 1`;

test('disks of clones', async (t) => {
  const root = createImage(at('root "é", .raw'), '8M', ['-f', 'raw']);
  const persistent = at('persistent.img');
  writeFileSync(persistent, Buffer.alloc(4 * MIB));
  await using vmm = await startVmm();
  await using other = await startVmm({ through: ['env', '-C', '/'] });
  using shell = await boot(vmm, {
    // relative paths, as a user types them
    disks: [{ path: relative(REPO, root), id: 'root' }],
    pmem: [{ file: relative(REPO, persistent), id: 'pmem' }],
    memory: { size: 256 * MIB },
  });
  await shell.run(write('before', 100));
  await takeSnapshot(vmm, at('snap'));
  const overlay = createImage(at('overlay.qcow2'), '8M', ['-f', 'qcow2', '-b', root, '-F', 'raw']);
  const restore = (to: TestVmm, disk: Json, folder = at('snap')): Promise<Answer> =>
    to.put('vm.restore', {
      source_url: `file://${folder}`,
      overrides: { disks: [{ id: 'root', ...disk }] },
    });

  await t.test('a disk that is open for writing elsewhere is named', async () => {
    const source_url = `file://${at('snap')}`;
    const answer = await other.put('vm.restore', { source_url });
    await assertRefusedCleanly(
      other,
      answer,
      /disk root: .*root "é", \.raw: is in use by another disk or process/,
    );
    assertStatus(await other.get('vm.info'), 404);
    assertStatus(await vmm.put('vm.delete'), 204);
  });
  await t.test('relative paths work in another folder', async () => {
    const { disks, pmem } = readConfig(at('snap'));
    assert.equal(disks?.[0]?.path, `${REPO}/${relative(REPO, root)}`);
    assert.equal(pmem?.[0]?.file, `${REPO}/${relative(REPO, persistent)}`);
    assertStatus(await other.put('vm.restore', { source_url: `file://${at('snap')}` }), 204);
    assertStatus(await other.put('vm.delete'), 204);
  });
  await t.test('an image that differs from the disk of the snapshot is refused', async () => {
    const small = createImage(at('small.qcow2'), '4M', ['-f', 'qcow2']);
    const large = createImage(at('large.raw'), '16M', ['-f', 'raw']);
    const vmdk = createImage(at('disk.vmdk'), '8M', ['-f', 'vmdk']);
    const refused: readonly (readonly [Json, RegExp])[] = [
      [
        { path: overlay },
        /disk root: .*overlay\.qcow2: looks like Qcow2, but the saved disk is Raw: name the format/,
      ],
      [{ path: overlay, image_type: 'Unknown' }, /looks like Qcow2, but the saved disk is Raw/],
      [
        { path: overlay, image_type: 'Raw' },
        /overlay\.qcow2: is a device of \d+ bytes, but the saved device has 8388608/,
      ],
      [
        { path: small, image_type: 'Qcow2' },
        /small\.qcow2: is a device of 4194304 bytes, but the saved device has 8388608/,
      ],
      [{ path: large }, /large\.raw: is a device of 16777216 bytes/],
      [{ path: vmdk }, /disk\.vmdk: looks like VMDK/],
      [{ path: at('gone') }, /disk root: .*gone: no such file or directory/],
    ];
    for (const [disk, reason] of refused) {
      await assertRefusedCleanly(other, await restore(other, disk), reason);
      assertStatus(await other.get('vm.info'), 404);
    }
    const byConfig = edited('by path', withDisk({ path: overlay }));
    const answer = await other.put('vm.restore', { source_url: `file://${byConfig}` });
    await assertRefusedCleanly(other, answer, /looks like Qcow2, but the saved disk is Raw/);
    truncateSync(persistent, 8 * MIB);
    await assertRefusedCleanly(
      other,
      await restore(other, { path: root }),
      /pmem pmem: .*persistent\.img: is a device of 8388608 bytes, but the saved device has 4194304/,
    );
    truncateSync(persistent, 4 * MIB);
  });
  await t.test('an overlay whose format is named in config.json is taken', async () => {
    const folder = edited('by format', withDisk({ path: overlay, image_type: 'Qcow2' }));
    assertStatus(await other.put('vm.restore', { source_url: `file://${folder}` }), 204);
    assertStatus(await other.put('vm.delete'), 204);
  });
  await t.test(
    'an overlay whose format is named has what the disk had, and takes what is written',
    async () => {
      const base = readFileSync(root);
      assertStatus(await restore(other, { path: overlay, image_type: 'qcow2' }), 204);
      assertStatus(await other.put('vm.resume'), 204);
      using clone = openShell(await ptyOf(other));
      assert.equal(await clone.run(read(100)), 'before');
      await clone.run(write('of the clone', 200));
      assert.equal(await clone.run(read(200)), 'of the clone');
      await takeSnapshot(other, at('second'));
      assertStatus(await other.put('vm.delete'), 204);
      assert.deepEqual(readFileSync(root), base);
      // a clone of the clone has the overlay's format
      assertStatus(await other.put('vm.restore', { source_url: `file://${at('second')}` }), 204);
      assertStatus(await other.put('vm.delete'), 204);
    },
  );
});

test('a migration to a host with another disk is refused, and the guest runs on', async () => {
  mkdirSync(at('moves'));
  const disk = createImage(at('moves', 'disk.raw'), '8M', ['-f', 'raw']);
  const replaceDisk = (size: string, options: readonly string[]): void => {
    renameSync(disk, at('moves', `before ${size}`));
    createImage(disk, size, options);
  };
  await using from = await startVmm();
  await using to = await startVmm();
  using shell = await boot(from, { disks: [{ path: disk }], memory: { size: 256 * MIB } });
  const move = async (): Promise<{ sent: Answer; received: Answer }> => {
    const url = `unix:${at('moves', 'socket')}`;
    const listening = to.output().length;
    const receiving = to.put('vm.receive-migration', { receiver_url: url });
    await until(
      'the receiver waits',
      () => readdirSync(at('moves')).includes('socket'),
      () => to.output().slice(listening),
    );
    const sent = await from.put('vm.send-migration', { destination_url: url });
    return { sent, received: await receiving };
  };
  for (const [size, options, reason] of [
    ['4M', ['-f', 'raw'], /disk\.raw: is a device of 4194304 bytes, but the saved device has 8388608/],
    ['8M', ['-f', 'qcow2'], /disk\.raw: is a device of \d+ bytes, but the saved device has 8388608/],
  ] as const) {
    replaceDisk(size, options);
    const { sent, received } = await move();
    await assertRefusedCleanly(to, received, reason);
    assertRefused(sent, 500, reason);
    assert.equal(await stateOf(from), 'Running');
  }
  assert.equal(await shell.run('echo runs on'), 'runs on');
});

const MUTATIONS = 40;

test(`${MUTATIONS} images with damaged headers are refused by name, or boot`, async () => {
  mkdirSync(at('damaged'));
  const path = at('damaged', 'an "image", é');
  await using vmm = await startVmm();
  // tables beyond the end of the file: QEMU never returned from opening it
  const [fresh] = makeSeeds(at('damaged')).filter(({ path: seed }) => seed.endsWith('fresh.qcow2'));
  assert.ok(fresh !== undefined);
  writeMutation(path, {
    name: '',
    seed: fresh,
    at: 59,
    bytes: Buffer.from([0x80]),
    length: fresh.contents.length,
  });
  const answer = await bootDisks(vmm, [{ path, id: 'hang' }]);
  await assertRefusedCleanly(
    vmm,
    answer,
    /disk hang: .*refcount table \(8388608 bytes at 65536\) is beyond the end/,
  );
  const mutations = mutationsOf(makeSeeds(at('damaged')), MUTATIONS, randomFrom(1));
  const booted = await bootDamaged(vmm, path, mutations);
  assert.ok(booted > 0 && booted < MUTATIONS, `${booted} of ${MUTATIONS} were booted`);
});
