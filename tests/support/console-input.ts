import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import type { Shell } from './shell.ts';
import { until } from './wait.ts';

/** Linux's magic SysRq key on a virtio console. */
const CTRL_O = 0x0f;

/** Any other 7-bit characters, control characters among them, in an order that shows the place of missing ones. */
const TEXT = String.fromCharCode(
  ...Array.from({ length: 65_536 }, (_, i) => 1 + ((i * 31 + (i >> 7)) % 127)).map((code) =>
    code === CTRL_O ? 1 : code,
  ),
);

/** Types 64 KiB at once, like a paste, and fails unless the guest reads each byte. */
export async function assertPasteArrives(shell: Shell): Promise<void> {
  const from = shell.shown().length;
  shell.type(
    'stty raw -echo; echo rea""dy; head -c 65536 >/tmp/paste; stty sane -echo; echo; echo pas""ted\r',
  );
  await until('the guest reads', () => shell.shown().includes('ready', from), shell.shown);
  shell.type(TEXT);
  await until('the guest has read 64 KiB', () => shell.shown().includes('pasted', from), shell.shown);
  const sum = createHash('sha256').update(TEXT, 'latin1').digest('hex');
  assert.equal(await shell.run('sha256sum </tmp/paste'), `${sum}  -`);
}
