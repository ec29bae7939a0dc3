import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { bootSteps, diskName } from './boot-steps.ts';
import { fixSessionClose } from './fix-dropbear.ts';
import { TOOLS_REVISION } from './guest-tools.ts';
import { dependenciesOf, MODULE_GROUPS } from './modules.ts';
import { parseDepends, parseMadison } from './packages.ts';
import { toolsArchive } from './tools-archive.ts';

test('the revision changes with the tools', () => {
  const none = Buffer.alloc(0);
  const files = {
    busybox: none,
    dropbear: none,
    sftpServer: none,
    dynamicLinker: none,
    libraries: new Map(),
    modules: [],
  };
  const content = toolsArchive(files, none);
  const sources = `${fixSessionClose.toString()}${JSON.stringify(MODULE_GROUPS)}`.replaceAll(/\s+/g, ' ');
  const digest = createHash('sha256').update(content).update(sources).digest('hex').slice(0, 12);
  assert.equal(TOOLS_REVISION, digest, `set TOOLS_REVISION to '${digest}'`);
});

test('versions of apt, newest first, each once', () => {
  const output = [
    ' linux-image-cloud-amd64 | 6.1.176-1 | http://mirror.example/debian bookworm/main amd64 Packages',
    ' linux-image-cloud-amd64 | 6.12.95-1~bpo12+1 | http://mirror.example/debian bookworm-backports/main amd64 Packages',
    ' linux-image-cloud-amd64 | 6.1.192-2 | http://mirror.example/debian-security bookworm-security/main amd64 Packages',
    ' linux-image-cloud-amd64 | 6.1.192-2 | http://mirror.example/debian bookworm-updates/main amd64 Packages',
    '',
  ].join('\n');
  assert.deepEqual(parseMadison(output), ['6.12.95-1~bpo12+1', '6.1.192-2', '6.1.176-1']);
  assert.deepEqual(parseMadison(''), []);
});

test('dependencies of a package, the first of alternatives', () => {
  const output =
    'Package: a\nDepends: libc6 (>= 2.34), libgmp10:any (>= 2:6.2), x | y, zlib1g\nSuggests: z\n\nPackage: a\nDepends: old\n';
  assert.deepEqual(parseDepends(output), ['libc6', 'libgmp10', 'x', 'zlib1g']);
  assert.deepEqual(parseDepends('Package: a\n'), []);
});

test('a module names the modules that it needs', () => {
  const module = (list: string): Buffer => Buffer.from(`\u007fELF\0license=GPL\0depends=${list}\0name=x\0`);
  assert.deepEqual(dependenciesOf(module('net-failover,virtio')), ['net_failover', 'virtio']);
  assert.deepEqual(dependenciesOf(module('')), []);
  assert.deepEqual(dependenciesOf(Buffer.from('no module')), []);
});

test('disks have the names that Linux gives them', () => {
  assert.deepEqual([0, 25, 26, 27, 51, 52, 701, 702].map(diskName), [
    'vda',
    'vdz',
    'vdaa',
    'vdab',
    'vdaz',
    'vdba',
    'vdzz',
    'vdaaa',
  ]);
});

test('the topmost layer is the first of the overlay', () => {
  const root = { kind: 'disks', serials: ['a', 'b', 'c'] } as const;
  const steps = bootSteps({ root, hasVolumes: false, hostname: 'box', hasNetwork: false }, ['overlay']);
  assert.deepEqual(steps.slice(0, 2), ['load', '/.nephos/modules/overlay.ko']);
  assert.ok(steps.some((word) => word.startsWith('lowerdir=/.nephos/l/2:/.nephos/l/1:/.nephos/l/0,')));
  assert.equal(steps.at(-1), 'serve');
});

test(
  'the fix of dropbear changes three bytes of this host’s program',
  { skip: process.arch !== 'x64' },
  () => {
    const program = readFileSync('/usr/sbin/dropbear');
    const fixed = fixSessionClose(program);
    const changed = [...program.keys()].filter((at) => program[at] !== fixed[at]);
    assert.equal(changed.length, 3);
    assert.equal(fixSessionClose(fixed), fixed, 'it is fixed once');
  },
);
