import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { decodeVmConfig } from '../../../config/decode-vm-config.ts';
import type { HostConsole } from '../../../host/console/host-console.ts';
import { libc, loadLibc } from '../../../native/libc.ts';
import { openSocketPair } from '../../../native/unix-socket.ts';
import { placeDevices, qemuIdOf } from '../../../plan/placement.ts';
import { createConsole, type Console } from '../../forward-console.ts';
import { preparePass, type PassingMachine, type TwinMachine } from './pass-consoles.ts';

const { config } = decodeVmConfig({ kernel: { path: '/k' }, console: { mode: 'Off' } });
const layout = placeDevices(config);
const placement = layout.placements.find(({ device }) => device.member === 'serial');
assert.ok(placement !== undefined);

/** A channel: the stream of the VMM, and the socket of QEMU. */
interface Channel {
  readonly stream: Socket;
  readonly fd: number;
}

async function openChannel(): Promise<Channel> {
  await loadLibc();
  const [own, fd] = openSocketPair();
  return { stream: new Socket({ fd: own }), fd };
}

/** A host end whose input the test types, and whose output it reads. */
function hostEnd(): {
  readonly end: HostConsole;
  readonly type: (text: string) => void;
  readonly shown: () => string;
} {
  let shown = '';
  let take: (bytes: Buffer) => void = () => undefined;
  const end: HostConsole = {
    write: (bytes) => {
      shown += String(bytes);
      return true;
    },
    onDrain: () => undefined,
    onInput: (next) => void (take = next),
    pauseInput: () => undefined,
    resumeInput: () => undefined,
    dispose: () => undefined,
  };
  return { end, type: (text) => take(Buffer.from(text)), shown: () => shown };
}

/** A console that passes from one channel to another. */
interface Passing {
  readonly console: Console;
  readonly host: ReturnType<typeof hostEnd>;
  readonly old: Channel;
  readonly next: Channel;
  readonly pass: Awaited<ReturnType<typeof preparePass>>;
  readonly twin: TwinMachine;
}

const unused = (): Promise<never> => Promise.reject(new Error('not used'));

/** Types `before` and begins to pass the console on. */
async function beginPass(before: string): Promise<Passing> {
  assert.ok(placement !== undefined);
  const host = hostEnd();
  const console = createConsole({ end: host.end }, { canWait: true, isViewed: true });
  const [old, next] = [await openChannel(), await openChannel()];
  console.attach(old.stream);
  host.type(before);
  const ends = {
    placed: () => [{ which: 'serial' as const, placement, console }],
    attachLate: () => undefined,
  };
  const parts = { layout, deviceSteps: new Map() };
  const machine: PassingMachine = {
    ...parts,
    qemu: {
      copyChannelEnd: async () => libc().dup(old.fd),
      qmp: { version: [10, 0, 2], execute: unused },
    },
  };
  const twin: TwinMachine = {
    ...parts,
    qemu: { channels: new Map([[qemuIdOf(placement), next.stream]]), switchToChannel: unused },
  };
  return { console, host, old, next, pass: await preparePass(ends, machine), twin };
}

function release({ console, old, next }: Passing): void {
  console.dispose();
  for (const { stream, fd } of [old, next]) {
    stream.destroy();
    libc().close(fd);
  }
}

/** Reads a text at the socket of QEMU. */
async function readText({ fd }: Channel, length: number): Promise<string> {
  // a stream reads ahead: none may exist before
  const stream = new Socket({ fd: libc().dup(fd) });
  let text = '';
  stream.on('data', (bytes) => (text += String(bytes)));
  while (text.length < length) await once(stream, 'data');
  stream.destroy();
  return text;
}

test('input that the old machine has not read, then input of the pass, reaches the twin', async () => {
  const passing = await beginPass('unread ');
  const { pass, host, next, twin } = passing;
  try {
    host.type('held ');
    await pass.takeBack();
    pass.complete(twin);
    host.type('later');
    assert.equal(await readText(next, 17), 'unread held later');
  } finally {
    release(passing);
  }
});

test('output of the old machine comes before that of the twin', async () => {
  const passing = await beginPass('');
  const { pass, host, old, next, twin } = passing;
  try {
    writeSync(next.fd, 'of the twin');
    writeSync(old.fd, 'of the old machine, ');
    await pass.takeBack();
    pass.complete(twin);
    while (host.shown().length < 31) await delay(1);
    assert.equal(host.shown(), 'of the old machine, of the twin');
  } finally {
    release(passing);
  }
});

test('a roll-back gives the old machine all input, once', async () => {
  const passing = await beginPass('unread ');
  const { pass, host, old } = passing;
  try {
    host.type('held ');
    await pass.takeBack();
    await pass.undo();
    host.type('later');
    assert.equal(await readText(old, 17), 'unread held later');
  } finally {
    release(passing);
  }
});

test('input beyond the buffer of the socket is taken back too', async () => {
  const text = 'x'.repeat(600_000);
  const passing = await beginPass(text);
  const { pass, next, twin } = passing;
  try {
    await pass.takeBack();
    pass.complete(twin);
    assert.equal(await readText(next, text.length), text);
  } finally {
    release(passing);
  }
});

test('output after the state was taken is that of the twin: the old machine would repeat it', async () => {
  const passing = await beginPass('');
  const { pass, host, old, next, twin } = passing;
  try {
    await pass.takeBack();
    writeSync(old.fd, 'before, ');
    await delay(20);
    assert.equal(host.shown(), '');
    pass.complete(twin);
    assert.throws(() => writeSync(old.fd, 'repeated'), /EPIPE/);
    writeSync(next.fd, 'after');
    while (host.shown().length < 13) await delay(1);
    assert.equal(host.shown(), 'before, after');
  } finally {
    release(passing);
  }
});

test('after a roll-back the output of the old machine is read again', async () => {
  const passing = await beginPass('');
  const { pass, host, old } = passing;
  try {
    await pass.takeBack();
    writeSync(old.fd, 'kept');
    await delay(20);
    assert.equal(host.shown(), '');
    await pass.undo();
    while (host.shown().length < 4) await delay(1);
    assert.equal(host.shown(), 'kept');
  } finally {
    release(passing);
  }
});
