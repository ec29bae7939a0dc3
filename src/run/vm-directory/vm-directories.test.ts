import assert from 'node:assert/strict';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { RunError, type RunFault } from '../errors.ts';
import type { RunRequest } from '../run-request.ts';
import { createVm, findVm, listVms, readVm, removeVm } from './vm-directories.ts';
import { stateOfVm } from './vm-state.ts';

const REQUEST: RunRequest = {
  image: 'alpine:3.20',
  command: ['true', "quote ' and é"],
  isInteractive: false,
  hasTerminal: false,
  isDetached: false,
  removes: false,
  env: { A: 'ü"' },
  volumes: [],
  ports: [],
  cpus: 1,
  memory: 2 ** 28,
  network: 'user',
  labels: {},
  pull: 'missing',
  isCold: true,
};

const vm = (name?: string) => ({
  request: name === undefined ? REQUEST : { ...REQUEST, name },
  access: 'tools' as const,
});

async function inHome(act: (vms: string) => Promise<void>): Promise<void> {
  const home = mkdtempSync(join(tmpdir(), 'vms "é" '));
  try {
    await act(join(home, 'state', 'vms'));
  } finally {
    rmSync(home, { recursive: true });
  }
}

const fault = (wanted: RunFault) => (error: unknown) => error instanceof RunError && error.fault === wanted;

test('a VM directory is private, and its record is read back', () =>
  inHome(async (vms) => {
    using own = await createVm(vm('one'), vms);
    assert.equal(statSync(own.paths.directory).mode & 0o777, 0o700);
    own.update({ vmmPid: 7 });
    const entry = await readVm('one', vms);
    assert.deepEqual([entry.record, entry.isOwned], [own.record, true]);
    assert.deepEqual(entry.record.request, { ...REQUEST, name: 'one' });
    assert.equal(entry.record.vmmPid, 7);
    assert.deepEqual(readdirSync(vms).toSorted(), ['.lock', 'one']);
  }));

test('states: created, running, then crashed without an exit, exited with one', () =>
  inHome(async (vms) => {
    const own = await createVm(vm('one'), vms);
    const state = async () => stateOfVm(await readVm('one', vms));
    assert.equal(await state(), 'created');
    own.update({ started: new Date().toISOString() });
    assert.equal(await state(), 'running');
    own[Symbol.dispose]();
    assert.equal(await state(), 'crashed');
    own.update({ exit: { code: 3 } });
    assert.equal(await state(), 'exited');
  }));

test('a name is taken until its VM is removed, and a running VM is not removed', () =>
  inHome(async (vms) => {
    const own = await createVm(vm('one'), vms);
    await assert.rejects(createVm(vm('one'), vms), fault('name-taken'));
    await assert.rejects(removeVm('one', vms), fault('running'));
    own[Symbol.dispose]();
    await assert.rejects(createVm(vm('one'), vms), fault('name-taken'));
    await removeVm('one', vms);
    await assert.rejects(removeVm('one', vms), fault('not-found'));
    await (await createVm(vm('one'), vms)).remove();
    assert.deepEqual(readdirSync(vms), ['.lock']);
  }));

test('concurrent creations get names of their own, and one of them a name that all want', () =>
  inHome(async (vms) => {
    const all = await Promise.all(Array.from({ length: 20 }, () => createVm(vm(), vms)));
    assert.equal(new Set(all.map(({ record }) => record.name)).size, 20);
    assert.equal((await listVms(vms)).length, 20);
    const wanted = await Promise.allSettled(Array.from({ length: 8 }, () => createVm(vm('same'), vms)));
    assert.equal(wanted.filter(({ status }) => status === 'fulfilled').length, 1);
    assert.equal((await listVms(vms)).length, 21);
  }));

test('concurrent removals remove one directory once', () =>
  inHome(async (vms) => {
    (await createVm(vm('one'), vms))[Symbol.dispose]();
    const removals = await Promise.allSettled(Array.from({ length: 8 }, () => removeVm('one', vms)));
    assert.ok(removals.some(({ status }) => status === 'fulfilled'));
    assert.deepEqual(readdirSync(vms), ['.lock']);
  }));

for (const name of [
  '',
  '.',
  '..',
  '../x',
  'a/b',
  '-x',
  '.hidden',
  'a b',
  "a'",
  'é',
  'a\0b',
  'x'.repeat(64),
]) {
  test(`the name ${JSON.stringify(name).slice(0, 20)} is refused`, () =>
    inHome(async (vms) => {
      await assert.rejects(createVm(vm(name), vms), fault('invalid'));
      await assert.rejects(findVm(name, vms), fault('invalid'));
      await assert.rejects(removeVm(name, vms), fault('invalid'));
      assert.equal(existsSync(vms), false);
    }));
}

test('a VM is found by its name, its id and the start of its id', () =>
  inHome(async (vms) => {
    using own = await createVm(vm('one'), vms);
    for (const text of ['one', own.record.id, own.record.id.slice(0, 4)])
      assert.equal((await findVm(text, vms)).record.name, 'one');
    await assert.rejects(findVm('two', vms), fault('not-found'));
  }));

test('directories that other users can write, and links, are refused', () =>
  inHome(async (vms) => {
    (await createVm(vm('one'), vms))[Symbol.dispose]();
    symlinkSync(join(vms, 'one'), join(vms, 'link'));
    await assert.rejects(readVm('link', vms), fault('unsafe'));
    chmodSync(join(vms, 'one'), 0o755);
    await assert.rejects(readVm('one', vms), fault('unsafe'));
    await assert.rejects(removeVm('one', vms), fault('unsafe'));
    assert.deepEqual(await listVms(vms), []);
    chmodSync(vms, 0o777);
    await assert.rejects(createVm(vm('two'), vms), fault('unsafe'));
    await assert.rejects(listVms(vms), fault('unsafe'));
  }));

test('sockets have short paths where the VM directory is too long for a socket address', () =>
  inHome(async (home) => {
    const vms = join(home, 'd'.repeat(120));
    const own = await createVm(vm('one'), vms);
    const { api, sockets } = own.paths;
    assert.ok(Buffer.byteLength(api) <= 107);
    assert.equal(statSync(sockets).mode & 0o777, 0o700);
    assert.deepEqual((await readVm('one', vms)).paths, own.paths);
    const server = createServer().listen(api);
    await once(server, 'listening');
    server.close();
    await own.remove();
    assert.equal(existsSync(sockets), false);
  }));

test('a directory of a creation that was killed is removed, one of a running creation is not', () =>
  inHome(async (vms) => {
    (await createVm(vm('one'), vms))[Symbol.dispose]();
    const [old, young] = [join(vms, '.new-000000000000'), join(vms, '.new-111111111111')];
    for (const one of [old, young]) mkdirSync(one, { mode: 0o700 });
    utimesSync(old, 0, 0);
    (await createVm(vm('two'), vms))[Symbol.dispose]();
    assert.deepEqual([existsSync(old), existsSync(young)], [false, true]);
  }));
