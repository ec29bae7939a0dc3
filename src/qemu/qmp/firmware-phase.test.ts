import assert from 'node:assert/strict';
import { test } from 'node:test';
import { typedExecute } from './commands/index.ts';
import { isBeforePaging } from './firmware-phase.ts';

/** Asks with a line of QEMU 10.0.2's `info registers`. */
function ask(line: string): Promise<boolean> {
  const text = `\r\nCPU#0\r\nEAX=00000000 EBX=00000000 ECX=00000000 EDX=00060fb1\r\n${line}\r\n`;
  return isBeforePaging({ version: [10, 0, 2], execute: typedExecute(async () => text) });
}

test('a vCPU after a reset has paging off, one in Linux has it on', async () => {
  assert.equal(await ask('CR0=60000010 CR2=00000000 CR3=00000000 CR4=00000000'), true);
  assert.equal(await ask('CR0=80050033 CR2=00007f0000000000 CR3=0000000002a0c000 CR4=00750ef0'), false);
});

test('without the register the guest counts as past its firmware', async () => {
  assert.equal(await ask(''), false);
});
