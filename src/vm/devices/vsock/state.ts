import type { MachinePlan } from '../../../devices/common/machine-plan.ts';
import type { Step } from '../../../devices/common/step.ts';
import { vsock } from '../../../devices/vsock/index.ts';
import { VsockConfig } from '../../../devices/vsock/config.ts';
import { qemuId, type Layout, type Placement } from '../../../plan/placement.ts';
import { planDevice } from '../../../plan/machine-plan.ts';
import { guestBus } from '../../../qemu/guest-bus/guest-bus.ts';
import { ejectDevice } from '../../../qemu/guest-bus/pci-hotplug.ts';
import { backendsOf, removeSteps, addSteps } from '../../../qemu/qmp/steps.ts';
import { readFunction, writeFunction } from '../../../qemu/guest-bus/virtio-function.ts';
import { STATUS } from '../../../qemu/guest-bus/virtio-registers.ts';
import { decode } from '../../../schema/decode.ts';
import { createLog } from '../../../util/log.ts';
import type { Machine } from '../../machine.ts';
import type { StateActions } from '../state-actions.ts';
import type { SavedVsock } from './saved.ts';
import { resetTransport } from './transport-reset.ts';

const log = createLog('vsock');

/*
 * QEMU neither saves nor loads the state of a machine with a vhost-user-vsock. A snapshot is taken and restored without the device.
 * The driver's settings are read from the device's registers and written again; the rings' positions are in guest memory.
 */

export const vsockState: StateActions<SavedVsock> = {
  member: vsock.member,
  states: 'vsocks',
  blocker: /\/vhost-user-vsock$|VHOST_USER_PROTOCOL_F_LOG_SHMFD/,
  save: saveVsocks,
  begin: openBus,
  restore: restoreVsocks,
  hide: withoutVsocks,
  leaveOut: planWithoutVsocks,
};

/** Reads the registers of a paused machine's vsock device, and the streams that its guest regards as open. */
async function saveVsocks(machine: Machine): Promise<SavedVsock[]> {
  const saved: SavedVsock[] = [];
  for (const placement of vsocksOf(machine)) saved.push(await saveOne(machine, placement));
  return saved;
}

async function saveOne(
  { qemu, preparations }: Machine,
  { id, slot = 0, config }: Placement,
): Promise<SavedVsock> {
  const { cid } = decode(VsockConfig, config);
  const handover = await preparations.handoverState(id);
  if (handover === undefined) throw new Error(`vsock ${id}: has no back-end`);
  const { streams, nextHostPort } = handover;
  const state = await readFunction(await guestBus(qemu.qmp), slot);
  return { id, cid, past: { streams: [...streams], nextHostPort }, state };
}

/**
 * Runs `act` on a paused machine while it has no vsock device. The change is invisible to the guest: afterwards the device is the
 * same, with all streams, also if `act` rejects. `saved` is the result of {@link saveVsocks}; the machine is paused since then.
 */
async function withoutVsocks<T>(
  machine: Machine,
  saved: readonly SavedVsock[],
  act: () => Promise<T>,
): Promise<T> {
  const hidden: SavedVsock[] = [];
  try {
    for (const placement of vsocksOf(machine)) {
      await hideDevice(machine, placement);
      hidden.push(...saved.filter(({ id }) => id === placement.id));
    }
    return await act();
  } finally {
    try {
      for (const one of hidden) await makeAgain(machine, one);
    } finally {
      machine.hidden.clear();
    }
  }
}

async function hideDevice(machine: Machine, { id, slot = 0 }: Placement): Promise<void> {
  const { qmp } = machine.qemu;
  machine.hidden.add(qemuId(id));
  // first, because the streams must survive the close of the old connection
  await machine.preparations.reconnect(id, undefined);
  await ejectDevice(machine.qemu, await guestBus(qmp), { id: qemuId(id), slot });
  await removeSteps(qmp, backendsOf(machine.deviceSteps.get(id) ?? []));
}

async function openBus({ qemu }: Machine, saved: readonly SavedVsock[]): Promise<void> {
  if (saved.length > 0) await guestBus(qemu.qmp);
}

/** Makes the saved vsock device in a machine that has its RAM and QEMU's state and has not run. Its streams are closed. */
async function restoreVsocks(machine: Machine, saved: readonly SavedVsock[]): Promise<void> {
  for (const one of saved) {
    await machine.preparations.reconnect(one.id, one.past);
    await makeAgain(machine, one);
    const placement = vsocksOf(machine).find(({ id }) => id === one.id);
    const cid = placement === undefined ? one.cid : decode(VsockConfig, placement.config).cid;
    // a driver that is loaded later reads the address then
    if (cid === one.cid || (one.state.status & STATUS.driver) === 0) continue;
    const isNotified = await resetTransport(await guestBus(machine.qemu.qmp), one.state);
    if (!isNotified)
      log.warn(`vsock ${one.id}: the guest's driver is not notified of its new address ${cid}`);
  }
}

async function makeAgain(machine: Machine, { id, state }: SavedVsock): Promise<void> {
  const { qemu, preparations, detaching } = machine;
  const placement = vsocksOf(machine).find((one) => one.id === id);
  if (placement === undefined) return;
  // the device has a new connection
  const steps = planDevice(placement, preparations.facts().get(id));
  machine.deviceSteps.set(id, steps);
  const [bus] = await Promise.all([guestBus(qemu.qmp), addSteps(qemu.qmp, steps)]);
  await writeFunction(bus, placement.slot ?? 0, state);
  // the release request was for the former device
  if (detaching.has(id)) await qemu.qmp.execute('device_del', { id: qemuId(id) });
}

/** Returns the plan of a machine whose vsock device {@link restoreVsocks} makes. */
function planWithoutVsocks(plan: MachinePlan, layout: Layout): MachinePlan {
  const ids = new Set(vsocksOf({ layout }).flatMap(({ id }) => [qemuId(id), `${qemuId(id)}.host`]));
  const isOther = (step: Step): boolean =>
    (step.kind !== 'device' && step.kind !== 'chardev') || !ids.has(idOf(step));
  return { ...plan, steps: plan.steps.filter(isOther), lateSteps: plan.lateSteps.filter(isOther) };
}

function idOf(step: Extract<Step, { kind: 'device' | 'chardev' }>): string {
  return step.kind === 'chardev' ? step.id : (step.props.id ?? '');
}

/** Returns the vsock device of a machine; there is one at most. */
function vsocksOf({ layout }: Pick<Machine, 'layout'>): Placement[] {
  return layout.placements.filter(({ device }) => device.member === vsock.member);
}
