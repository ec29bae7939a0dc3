import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeVmConfig } from '../../config/decode-vm-config.ts';
import { Vm } from '../vm.ts';
import { handleExit, handlePanic, type ExitActions } from './handle-exit.ts';
import type { ExitPolicies } from './outcome.ts';

const POLICIES: ExitPolicies = { onPanic: undefined, onReboot: 'restart', staysUp: false, isServed: true };

/** Actions that record what is done; the restart fails where `failure` is given. */
function recording(policies: Partial<ExitPolicies> = {}, failure?: Error) {
  const done: string[] = [];
  const actions: ExitActions = {
    policies: { ...POLICIES, ...policies },
    emit: ({ event }) => done.push(event),
    exit: async (_vm, problem) => void done.push(`exit ${problem ?? 'ok'}`),
    restart: async (_vm, _signals, startsPaused) => {
      done.push(startsPaused ? 'restart paused' : 'restart');
      if (failure !== undefined) throw failure;
    },
  };
  return { done, actions };
}

const vm = Vm.create(decodeVmConfig({ kernel: { path: '/k' } }).config);
const signals = () => ({ waits: new AbortController().signal, kill: new AbortController().signal });
const end = (reason: 'power-off' | 'reset' | 'crash') => ({ reason, detail: 'x', guestFailure: undefined });

test('a power-off ends the VMM, a reset restarts the machine', async () => {
  const { done, actions } = recording();
  await handleExit(actions, vm, end('power-off'), signals());
  await handleExit(actions, vm, end('reset'), signals());
  assert.deepEqual(done, ['exit ok', 'restart']);
});

test('a crash is an event; a VMM without an API socket exits with the reason', async () => {
  const { done, actions } = recording({ isServed: false });
  await handleExit(actions, vm, end('crash'), signals());
  assert.deepEqual(done, ['crashed', 'exit QEMU ended unexpectedly (x)']);
});

test('a reboot that fails is a crash, unless a shutdown has ended it', async () => {
  const failed = recording({ isServed: false }, new Error('no memory'));
  await handleExit(failed.actions, vm, end('reset'), signals());
  assert.deepEqual(failed.done, ['restart', 'crashed', 'exit Error rebooting VM: no memory']);
  const ended = recording({ isServed: false }, new Error('ended'));
  const waits = new AbortController();
  waits.abort();
  await handleExit(ended.actions, vm, end('reset'), { ...signals(), waits: waits.signal });
  assert.deepEqual(ended.done, ['restart']);
});

test('--on-panic decides about a panic; without it the guest decides', async () => {
  const without = recording();
  await handlePanic(without.actions, vm, signals());
  assert.deepEqual(without.done, []);
  const restarts = recording({ onPanic: 'restart' });
  await handlePanic(restarts.actions, vm, signals());
  assert.deepEqual(restarts.done, ['restart']);
  const exits = recording({ onPanic: 'exit' });
  await handlePanic(exits.actions, vm, signals());
  assert.match(exits.done[0] ?? '', /^exit the guest’s kernel panicked/);
});
