import assert from 'node:assert/strict';
import { test } from 'node:test';
import { typedExecute } from './commands/index.ts';
import { hostAddress, parseRamBlocks } from './ram-blocks.ts';

/** Output of QEMU 10.0.2; the row without a name is a pmem device's. The second page size is edited. */
const TABLE = [
  '              Block Name    PSize              Offset               Used              Total                HVA  RO',
  '         0000:00:04.0/vm    4 KiB  0x0000000008800000 0x0000000010000000 0x0000000010000000 0x00007ff013ffe000  rw',
  '                     ram    2 MiB  0x0000000000000000 0x0000000008000000 0x0000000008000000 0x00007ff023fff000  rw',
  '                            4 KiB  0x0000000008000000 0x0000000000800000 0x0000000000800000 0x00007ff0788b7000  rw',
  '    /rom@etc/acpi/tables    4 KiB  0x00000000208c0000 0x0000000000020000 0x0000000000200000 0x00007ff00a600000  ro',
  '                 pc.bios    4 KiB  0x0000000020800000 0x0000000000040000 0x0000000000040000 0x00007ff00b600000  ro',
  '',
].join('\r\n');

test('blocks of memory have the ids of their back-ends, or QEMU’s names', () => {
  const planned = { planned: true, huge: false };
  const own = { planned: false, huge: false };
  assert.deepEqual(parseRamBlocks(TABLE, new Set(['ram', 'vm'])), [
    { name: 'vm', length: 2 ** 28, address: 0x7ff0_13ff_e000, ...planned },
    { name: 'ram', length: 2 ** 27, address: 0x7ff0_23ff_f000, ...planned, huge: true },
    { name: '/rom@etc/acpi/tables', length: 0x2_0000, address: 0x7ff0_0a60_0000, ...own },
    { name: 'pc.bios', length: 0x4_0000, address: 0x7ff0_0b60_0000, ...own },
  ]);
});

test('a guest address has an address in QEMU, or is an error with QEMU’s reason', async () => {
  const qmpOf = (reply: string) => ({
    version: [10, 0, 2] as const,
    execute: typedExecute(async () => reply),
  });
  const found = qmpOf('Host virtual address for 0x1000 (ram) is 0x7ff024000000\r\n');
  assert.equal(await hostAddress(found, 4096), 0x7ff0_2400_0000);
  const none = qmpOf('No memory is mapped at address 0xe8d4a50fff\r\n');
  await assert.rejects(
    hostAddress(none, 999_999_999_999),
    /^Error: No memory is mapped at address 0xe8d4a50fff$/,
  );
});
