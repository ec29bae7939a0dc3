// Boots a guest, takes a snapshot, and starts three clones of it. Arguments: a kernel and an initramfs.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { VirtualMachine } from 'nephos';

const [kernel = '', initramfs = ''] = process.argv.slice(2);
const folder = await mkdtemp(join(tmpdir(), 'clones-'));
try {
  await using vm = await VirtualMachine.launch({
    cpus: { boot_vcpus: 1, max_vcpus: 1 },
    memory: { size: 256 * 2 ** 20 },
    kernel: { path: kernel },
    initramfs: { path: initramfs },
    cmdline: { args: 'console=ttyS0' },
  });
  await vm.serial.waitFor('login:', { timeoutMs: 120_000 });
  vm.serial.write('root\n');
  await vm.serial.waitFor('# ');
  vm.serial.write('answer=$((6 * 7)); uname -sr\n');
  console.log((await vm.serial.waitFor(/Linux \d\S+(?=\r?\n)/))[0]);
  await vm.snapshot(join(folder, 'snapshot'));
  for (const name of ['one', 'two', 'three']) {
    await using clone = await VirtualMachine.restore(join(folder, 'snapshot'));
    clone.serial.write(`echo clone ${name}: $answer\n`);
    console.log((await clone.serial.waitFor(/clone \w+: \d+(?=\r?\n)/))[0]);
  }
} finally {
  await rm(folder, { recursive: true });
}
