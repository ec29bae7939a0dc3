import { setTimeout as delay } from 'node:timers/promises';
import type { ChardevStep, NetdevStep, Step } from '../../devices/common/step.ts';
import { QemuError } from '../process/qemu-error.ts';
import { QmpError, type Qmp } from './connection.ts';
import { isMessage, type QmpMessage } from './messages.ts';

/** One QMP command, with the descriptors that travel with it. */
interface Command {
  readonly command: string;
  readonly args: QmpMessage;
  readonly fds?: readonly number[];
}

/**
 * Makes what steps describe in a running QEMU, in their order: the same steps are arguments at boot.
 * Where QEMU refuses one, what was made by then is taken away again; `signal` ends the wait for a connection.
 * @throws QemuError naming the part
 */
export async function makeSteps(
  qmp: Qmp,
  steps: readonly Step[],
  signal: AbortSignal = new AbortController().signal,
): Promise<void> {
  const made: Step[] = [];
  try {
    for (const group of groupsOf(steps)) {
      // asked for at once: QEMU does them in their order, and one that misses an earlier one is refused too
      const results = await Promise.allSettled(group.map((step) => make(qmp, step)));
      made.push(...group.filter((_, i) => results[i]?.status === 'fulfilled'));
      const failed = results.find((result) => result.status === 'rejected');
      if (failed !== undefined) throw failed.reason;
      const last = group.at(-1);
      if (last?.kind === 'chardev') await connected(qmp, last, signal);
    }
  } catch (error) {
    await dropSteps(qmp, made);
    throw error;
  }
}

/** Steps that need not wait for each other: a chardev's peer is waited for, and descriptors are sent by another way. */
function groupsOf(steps: readonly Step[]): Step[][] {
  const groups: Step[][] = [[]];
  for (const step of steps) {
    groups.at(-1)?.push(step);
    if (step.kind === 'chardev' || (step.kind === 'netdev' && step.fds !== undefined)) groups.push([]);
  }
  return groups;
}

/** Takes steps away in reverse order; a device only asks its guest to let go. What QEMU no longer has is no fault. */
export async function dropSteps(qmp: Qmp, steps: readonly Step[]): Promise<void> {
  for (const step of steps.toReversed()) {
    const command = dropCommand(step);
    if (command === undefined) continue;
    await run(qmp, [command]).catch((error: unknown) => {
      if (!(error instanceof QmpError)) throw error;
    });
  }
}

/** The back-ends among steps: what is left to take away when the guest has let the device go. */
export function backendsOf(steps: readonly Step[]): Step[] {
  return steps.filter(({ kind }) => kind !== 'device');
}

async function make(qmp: Qmp, step: Step): Promise<void> {
  try {
    await run(qmp, makeCommands(step));
  } catch (error) {
    if (!(error instanceof QmpError)) throw error;
    throw new QemuError(error.reason, partOf(step), { cause: error });
  }
}

/**
 * Waits until the VMM has connected to a socket that QEMU listens on. A device would wait as well, but with all of QEMU
 * standing still. There is no event to wait for.
 */
async function connected(qmp: Qmp, { id, backend }: ChardevStep, signal: AbortSignal): Promise<void> {
  if (backend.type !== 'socket') return;
  const end = performance.now() + CONNECT_MS;
  while (!(await isConnected(qmp, id))) {
    if (performance.now() >= end)
      throw new QemuError(`its back-end is not connected (waited ${CONNECT_MS / 1000} s for it)`, id);
    await delay(LOOK_MS, undefined, { signal }).catch(() => {
      throw new QemuError('its back-end is not connected; the wait for it was ended', id);
    });
  }
}

/** How often QEMU is asked whether it is connected, and how long, in milliseconds. */
const LOOK_MS = 20;
const CONNECT_MS = 60_000;

async function isConnected(qmp: Qmp, id: string): Promise<boolean> {
  const chardevs = await qmp.execute('query-chardev');
  const own = Array.isArray(chardevs)
    ? chardevs.find((one: unknown) => isMessage(one) && one['label'] === id)
    : undefined;
  return isMessage(own) && !String(own['filename']).startsWith('disconnected:');
}

/** The id or node name by which QEMU and we know a part. */
function partOf(step: Step): string | undefined {
  if (step.kind === 'chardev' || step.kind === 'tpmdev') return step.id;
  return step.kind === 'blockdev' ? step.props['node-name'] : step.props.id;
}

async function run(qmp: Qmp, commands: readonly Command[]): Promise<void> {
  for (const { command, args, fds } of commands) await qmp.execute(command, args, fds);
}

function makeCommands(step: Step): Command[] {
  switch (step.kind) {
    case 'object':
      return [{ command: 'object-add', args: step.props }];
    case 'blockdev':
      return [{ command: 'blockdev-add', args: step.props }];
    case 'netdev':
      return netdevCommands(step);
    case 'chardev':
      return chardevCommands(step);
    case 'tpmdev':
      throw new Error(`tpmdev ${step.id}: is only made at boot`);
    case 'device':
      return [{ command: 'device_add', args: step.props }];
  }
}

/** QEMU knows passed descriptors by names; the device takes them over. */
function netdevCommands({ props, fds }: NetdevStep): Command[] {
  if (fds === undefined) return [{ command: 'netdev_add', args: props }];
  const names = fds.map((_, i) => `${props.id}.${i}`);
  return [
    ...fds.map((fd, i) => passCommand(names[i] ?? '', fd)),
    { command: 'netdev_add', args: { ...props, fds: names.join(':') } },
  ];
}

function chardevCommands({ id, backend }: ChardevStep): Command[] {
  const add = (type: string, data: QmpMessage): Command => ({
    command: 'chardev-add',
    args: { id, backend: { type, data } },
  });
  switch (backend.type) {
    case 'null':
      return [add('null', {})];
    case 'socket':
      return [
        add('socket', {
          addr: { type: 'unix', data: { path: backend.path } },
          server: true,
          wait: false,
        }),
      ];
    case 'descriptor':
      return [
        passCommand(id, backend.fd),
        add('socket', { addr: { type: 'fd', data: { str: id } }, server: backend.server }),
      ];
    case 'channel':
    case 'file':
      throw new Error(`chardev ${id}: a ${backend.type} is only made at boot`);
  }
}

function passCommand(name: string, fd: number): Command {
  return { command: 'getfd', args: { fdname: name }, fds: [fd] };
}

function dropCommand(step: Step): Command | undefined {
  switch (step.kind) {
    case 'object':
      return { command: 'object-del', args: { id: step.props.id } };
    case 'blockdev':
      return { command: 'blockdev-del', args: { 'node-name': step.props['node-name'] } };
    case 'netdev':
      return { command: 'netdev_del', args: { id: step.props.id } };
    case 'chardev':
      return { command: 'chardev-remove', args: { id: step.id } };
    case 'tpmdev':
      return undefined;
    case 'device':
      return step.props.id === undefined ? undefined : { command: 'device_del', args: { id: step.props.id } };
  }
}
