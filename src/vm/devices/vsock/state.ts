import type { MachinePlan } from '../../../devices/common/machine-plan.ts';
import type { Step } from '../../../devices/common/step.ts';
import { vsock } from '../../../devices/vsock/index.ts';
import { VsockConfig } from '../../../devices/vsock/config.ts';
import { qemuId, type Layout, type Placement } from '../../../plan/placement.ts';
import { planDevice } from '../../../plan/machine-plan.ts';
import { guestBus } from '../../../qemu/guest-bus/bus.ts';
import { ejectDevice } from '../../../qemu/guest-bus/pci-hotplug.ts';
import { backendsOf, dropSteps, makeSteps } from '../../../qemu/qmp/steps.ts';
import { readFunction, writeFunction } from '../../../qemu/guest-bus/virtio-function.ts';
import { STATUS } from '../../../qemu/guest-bus/virtio-registers.ts';
import { decode } from '../../../schema/decode.ts';
import { createLog } from '../../../util/log.ts';
import type { Machine } from '../../launch/machine.ts';
import type { SavedVsock } from '../../machine-state/machine-description.ts';
import { resetTransport } from './transport-reset.ts';

const log = createLog('vsock');

/*
 * QEMU neither saves a machine with a vhost-user-vsock nor loads one's state: such a machine is saved without it and made without
 * it. What its guest has set in it is read from its registers and set again; how far its rings are stands in the guest's memory.
 */

/** Reads what a paused machine's vsock device was set to, and the streams that its guest may take for open. */
export async function saveVsocks(machine: Machine): Promise<SavedVsock[]> {
  const saved: SavedVsock[] = [];
  for (const placement of vsocksOf(machine)) saved.push(await saveOne(machine, placement));
  return saved;
}

async function saveOne(
  { qemu, preparations }: Machine,
  { id, slot = 0, config }: Placement,
): Promise<SavedVsock> {
  const { cid } = decode(VsockConfig, config);
  const past = await preparations.past(id);
  if (past === undefined) throw new Error(`vsock ${id}: nothing serves it`);
  const { streams, nextHostPort } = past;
  const state = await readFunction(await guestBus(qemu.qmp), slot);
  return { id, cid, past: { streams: [...streams], nextHostPort }, state };
}

/**
 * Does something with a paused machine while it has no vsock device. Its guest does not notice: the device is the same afterwards,
 * with all streams, whatever happens. `saved` is what {@link saveVsocks} has read since the machine stands.
 */
export async function withoutVsocks<T>(
  machine: Machine,
  saved: readonly SavedVsock[],
  act: () => Promise<T>,
): Promise<T> {
  const out: SavedVsock[] = [];
  try {
    for (const placement of vsocksOf(machine)) {
      await takeOut(machine, placement);
      out.push(...saved.filter(({ id }) => id === placement.id));
    }
    return await act();
  } finally {
    try {
      for (const one of out) await putBack(machine, one);
    } finally {
      machine.absent.clear();
    }
  }
}

async function takeOut(machine: Machine, { id, slot = 0, ...placement }: Placement): Promise<void> {
  const { qmp } = machine.qemu;
  machine.absent.add(qemuId(id));
  // before: the end of the old connection is not to be the end of the streams
  await machine.preparations.renew(id, undefined);
  await ejectDevice(machine.qemu, await guestBus(qmp), { id: qemuId(id), slot });
  const steps = planDevice({ ...placement, id, slot }, machine.preparations.facts().get(id));
  await dropSteps(qmp, backendsOf(steps));
}

/** Makes the vsock device that another machine had in one that has its state and RAM and has not run. Streams of then are over. */
export async function restoreVsocks(machine: Machine, saved: readonly SavedVsock[]): Promise<void> {
  for (const one of saved) {
    await machine.preparations.renew(one.id, one.past);
    await putBack(machine, one);
    const placement = vsocksOf(machine).find(({ id }) => id === one.id);
    const cid = placement === undefined ? one.cid : decode(VsockConfig, placement.config).cid;
    // a driver that has not come yet asks for it when it comes
    if (cid === one.cid || (one.state.status & STATUS.driver) === 0) continue;
    const heard = await resetTransport(await guestBus(machine.qemu.qmp), one.state);
    if (!heard) log.warn(`vsock ${one.id}: the guest's driver does not hear of its new address ${cid}`);
  }
}

async function putBack(machine: Machine, { id, state }: SavedVsock): Promise<void> {
  const { qemu, preparations, leaving } = machine;
  const placement = vsocksOf(machine).find((one) => one.id === id);
  if (placement === undefined) return;
  await makeSteps(qemu.qmp, planDevice(placement, preparations.facts().get(id)));
  await writeFunction(await guestBus(qemu.qmp), placement.slot ?? 0, state);
  // the guest was asked to let it go, and the device that it was asked for is not there any more
  if (leaving.has(id)) await qemu.qmp.execute('device_del', { id: qemuId(id) });
}

/** The plan of a machine that gets its vsock device later ({@link restoreVsocks}). */
export function planWithoutVsocks(plan: MachinePlan, layout: Layout): MachinePlan {
  const ids = new Set(vsocksOf({ layout }).flatMap(({ id }) => [qemuId(id), `${qemuId(id)}.host`]));
  const isOther = (step: Step): boolean =>
    (step.kind !== 'device' && step.kind !== 'chardev') || !ids.has(idOf(step));
  return { ...plan, steps: plan.steps.filter(isOther), lateSteps: plan.lateSteps.filter(isOther) };
}

function idOf(step: Extract<Step, { kind: 'device' | 'chardev' }>): string {
  return step.kind === 'chardev' ? step.id : (step.props.id ?? '');
}

/** The vsock device of a machine, of which there is one at most. */
export function vsocksOf({ layout }: Pick<Machine, 'layout'>): Placement[] {
  return layout.placements.filter(({ device }) => device.member === vsock.member);
}
