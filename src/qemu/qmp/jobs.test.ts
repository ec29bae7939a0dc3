import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { QmpEvent } from './events.ts';
import { runJob, type JobQemu } from './jobs.ts';

/** A QEMU whose jobs end as `error` says, after `job-cancel` or at once. */
function fakeQemu({ error, waits = false }: { error?: string; waits?: boolean } = {}) {
  const sent: string[] = [];
  const listeners = new Set<(event: QmpEvent) => void>();
  let exit: () => void = () => undefined;
  const ended = new Promise<never>((_resolve, reject) => {
    exit = () => reject(new Error('not awaited'));
  }).catch(() => ({ reason: 'crash', detail: 'signal SIGKILL' }) as const);
  const conclude = (): void => {
    for (const take of listeners)
      take({ event: 'JOB_STATUS_CHANGE', data: { id: 'j', status: 'concluded' } });
  };
  const execute = async (name: string): Promise<unknown> => {
    sent.push(name);
    if (name === 'job-cancel') conclude();
    const one = {
      id: 'j',
      'current-progress': 0,
      'total-progress': 1,
      ...(error !== undefined && { error }),
    };
    return name === 'query-jobs' ? [one] : undefined;
  };
  const onEvent = (take: (event: QmpEvent) => void) => {
    listeners.add(take);
    return () => void listeners.delete(take);
  };
  // a fake of the commands that a job needs
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  const qemu = { qmp: { execute }, onEvent, ended } as unknown as JobQemu;
  const start = async (): Promise<void> => {
    sent.push('start');
    if (!waits) conclude();
  };
  return { qemu, start, sent, listeners, exit: () => exit() };
}

const signal = new AbortController().signal;

test('a job that has ended is dismissed', async () => {
  const { qemu, start, sent, listeners } = fakeQemu();
  await runJob(qemu, { id: 'j', start, signal });
  assert.deepEqual(sent, ['start', 'query-jobs', 'job-dismiss']);
  assert.equal(listeners.size, 0);
});

test('a job that fails has QEMU’s reason, and is dismissed', async () => {
  const { qemu, start, sent } = fakeQemu({ error: 'No space left on device' });
  await assert.rejects(runJob(qemu, { id: 'j', start, signal }), /No space left on device/);
  assert.equal(sent.at(-1), 'job-dismiss');
});

test('an abort cancels a job, and its reason is that of the rejection', async () => {
  const { qemu, start, sent } = fakeQemu({ error: 'Operation canceled', waits: true });
  const controller = new AbortController();
  const running = runJob(qemu, { id: 'j', start, signal: controller.signal });
  setImmediate(() => controller.abort(new Error('cancelled by the client')));
  await assert.rejects(running, /cancelled by the client/);
  assert.deepEqual(sent, ['start', 'job-cancel', 'query-jobs', 'job-dismiss']);
});

test('a job ends with its QEMU', async () => {
  const { qemu, start, exit, listeners } = fakeQemu({ waits: true });
  const running = runJob(qemu, { id: 'j', start, signal });
  setImmediate(exit);
  await assert.rejects(running, /QEMU has ended/);
  assert.equal(listeners.size, 0);
});
