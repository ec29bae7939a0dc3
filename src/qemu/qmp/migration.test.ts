import assert from 'node:assert/strict';
import { openSync } from 'node:fs';
import { test } from 'node:test';
import type { Qemu } from '../process/qemu.ts';
import { sendMachine } from './migration.ts';

/** Time after which a test that hangs fails, in milliseconds. */
const timeout = 10_000;

/** A QEMU that migrates until it is cancelled, and ignores a cancellation before. `onCommand` is called with each command. */
function migratingQemu(onCommand: (command: string) => void): Qemu {
  const readers = new Set<(event: object) => void>();
  let isActive = false;
  const execute = async (command: string): Promise<object> => {
    onCommand(command);
    if (command === 'migrate') isActive = true;
    if (command === 'migrate_cancel' && isActive) {
      const event = { event: 'MIGRATION', data: { status: 'cancelled' } };
      setImmediate(() => readers.forEach((take) => take(event)));
    }
    return command === 'query-status' ? { status: 'running' } : {};
  };
  const onEvent = (take: (event: object) => void) => {
    readers.add(take);
    return () => readers.delete(take);
  };
  return { qmp: { execute }, onEvent, ended: new Promise(() => undefined) } as unknown as Qemu;
}

for (const step of ['migrate-set-capabilities', 'migrate-set-parameters', 'migrate', 'query-migrate']) {
  test(`a migration is cancelled during ${step}, and the guest runs`, { timeout }, async () => {
    const cancelling = new AbortController();
    const commands: string[] = [];
    const qemu = migratingQemu((command) => {
      commands.push(command);
      if (command === step) cancelling.abort();
    });
    const commit = (): void => assert.fail('it is cancelled');
    const options = { live: true, signal: cancelling.signal, commit, onPass: () => undefined };
    if (step === 'query-migrate') setTimeout(() => cancelling.abort(), 20);
    await assert.rejects(sendMachine(qemu, openSync('/dev/null', 'r'), options), {
      message: 'it was ended',
    });
    assert.equal(commands.at(-1), 'cont');
  });
}
