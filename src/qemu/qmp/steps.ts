import { setTimeout as delay } from 'node:timers/promises';
import type { ChardevStep, NetdevStep, Step } from '../../devices/common/step.ts';
import { QemuError } from '../process/qemu-error.ts';
import type { ChardevBackendArgs } from './commands/chardev.ts';
import type { Qmp } from './connection.ts';
import { QmpError } from './qmp-error.ts';

/*
 * A plan's steps over QMP. The same steps have three renderings:
 *
 * - at boot:       arguments of the process, `renderArguments` in process/arguments.ts
 * - at hot-plug:   one command or more for each step, in the order of the steps: `addSteps`
 * - at hot-unplug: one command for each step, in reverse order: `removeSteps`
 */

/**
 * Carries out steps in a running QEMU, in order. If QEMU refuses a step, the steps before it are removed again.
 * `signal` aborts the wait for a back-end to connect. Rejects with QemuError naming the part.
 */
export async function addSteps(
  qmp: Qmp,
  steps: readonly Step[],
  signal: AbortSignal = new AbortController().signal,
): Promise<void> {
  const added: Step[] = [];
  try {
    for (const group of groupsOf(steps)) {
      // sent at once: QEMU runs commands in order, and refuses a step that needs a refused one
      const results = await Promise.allSettled(group.map((step) => addStep(qmp, step)));
      added.push(...group.filter((_, i) => results[i]?.status === 'fulfilled'));
      const failed = results.find((result) => result.status === 'rejected');
      if (failed !== undefined) throw failed.reason;
      const last = group.at(-1);
      if (last?.kind === 'chardev') await untilConnected(qmp, last, signal);
    }
  } catch (error) {
    await removeSteps(qmp, added);
    throw error;
  }
}

/**
 * Removes steps in reverse order; the removal of a device only asks its guest to release it. A step that QEMU no longer has
 * is no failure.
 */
export async function removeSteps(qmp: Qmp, steps: readonly Step[]): Promise<void> {
  for (const step of steps.toReversed()) {
    await removeStep(qmp, step).catch((error: unknown) => {
      if (!(error instanceof QmpError)) throw error;
    });
  }
}

/** Returns the steps of back-ends, which are removed once the guest has released the device. */
export function backendsOf(steps: readonly Step[]): Step[] {
  return steps.filter(({ kind }) => kind !== 'device');
}

/**
 * Returns groups of steps whose commands are sent at once. A group ends after a chardev, whose peer must connect, and after passed
 * descriptors, which are sent by another system call than the commands.
 */
function groupsOf(steps: readonly Step[]): Step[][] {
  const groups: Step[][] = [[]];
  for (const step of steps) {
    groups.at(-1)?.push(step);
    if (step.kind === 'chardev' || (step.kind === 'netdev' && step.fds !== undefined)) groups.push([]);
  }
  return groups;
}

async function addStep(qmp: Qmp, step: Step): Promise<void> {
  try {
    await sendStep(qmp, step);
  } catch (error) {
    if (!(error instanceof QmpError)) throw error;
    throw new QemuError(error.reason, partOf(step), { cause: error });
  }
}

function sendStep(qmp: Qmp, step: Step): Promise<void> {
  switch (step.kind) {
    case 'object':
      return qmp.execute('object-add', step.props);
    case 'blockdev':
      return qmp.execute('blockdev-add', step.props);
    case 'netdev':
      return sendNetdev(qmp, step);
    case 'chardev':
      return sendChardev(qmp, step);
    case 'tpmdev':
      throw new Error(`tpmdev ${step.id}: can only be made at boot`);
    case 'device':
      return qmp.execute('device_add', step.props);
  }
}

/** Sends a network back-end with its file descriptors, which it refers to by names and takes over. */
async function sendNetdev(qmp: Qmp, { props, fds }: NetdevStep): Promise<void> {
  if (fds === undefined) return qmp.execute('netdev_add', props);
  const names = fds.map((_, i) => `${props.id}.${i}`);
  for (const [i, fd] of fds.entries()) await qmp.execute('getfd', { fdname: names[i] ?? '' }, [fd]);
  return qmp.execute('netdev_add', { ...props, fds: names.join(':') });
}

async function sendChardev(qmp: Qmp, { id, backend }: ChardevStep): Promise<void> {
  const add = (args: ChardevBackendArgs): Promise<void> => qmp.execute('chardev-add', { id, backend: args });
  switch (backend.type) {
    case 'null':
      return add({ type: 'null', data: {} });
    case 'socket': {
      const addr = { type: 'unix', data: { path: backend.path } } as const;
      return add({ type: 'socket', data: { addr, server: true, wait: false } });
    }
    case 'descriptor': {
      await qmp.execute('getfd', { fdname: id }, [backend.fd]);
      const addr = { type: 'fd', data: { str: id } } as const;
      return add({ type: 'socket', data: { addr, server: backend.server } });
    }
    case 'ringbuf':
    case 'channel':
    case 'file':
      throw new Error(`chardev ${id}: a ${backend.type} can only be made at boot`);
  }
}

async function removeStep(qmp: Qmp, step: Step): Promise<void> {
  switch (step.kind) {
    case 'object':
      return qmp.execute('object-del', { id: step.props.id });
    case 'blockdev':
      return qmp.execute('blockdev-del', { 'node-name': step.props['node-name'] });
    case 'netdev':
      return qmp.execute('netdev_del', { id: step.props.id });
    case 'chardev':
      return qmp.execute('chardev-remove', { id: step.id });
    case 'tpmdev':
      return undefined;
    case 'device':
      if (step.props.id === undefined) return undefined;
      return qmp.execute('device_del', { id: step.props.id });
  }
}

/** Returns the id or node name of a step in QEMU. */
function partOf(step: Step): string | undefined {
  if (step.kind === 'chardev' || step.kind === 'tpmdev') return step.id;
  return step.kind === 'blockdev' ? step.props['node-name'] : step.props.id;
}

/** Interval and deadline of the polls for a connected back-end, in milliseconds. */
const POLL_MS = 20;
const CONNECT_MS = 60_000;

/**
 * Waits until a peer has connected to a socket that QEMU listens on. A device without connected peer would block the whole QEMU.
 * QEMU has no event for the connection.
 */
async function untilConnected(qmp: Qmp, { id, backend }: ChardevStep, signal: AbortSignal): Promise<void> {
  if (backend.type !== 'socket') return;
  const end = performance.now() + CONNECT_MS;
  while (!(await isConnected(qmp, id))) {
    if (performance.now() >= end)
      throw new QemuError(`its back-end is not connected (waited ${CONNECT_MS / 1000} s for it)`, id);
    await delay(POLL_MS, undefined, { signal }).catch((cause: unknown) => {
      throw new QemuError('its back-end is not connected; the wait for it was ended', id, { cause });
    });
  }
}

async function isConnected(qmp: Qmp, id: string): Promise<boolean> {
  const chardev = (await qmp.execute('query-chardev')).find(({ label }) => label === id);
  return chardev !== undefined && !chardev.filename.startsWith('disconnected:');
}
