// Codes that a guest writes to I/O port 0x80, as programs read them that measure boot times.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertStatus } from './support/answers.ts';
import { boot } from './support/boot.ts';
import { INITRAMFS, KERNEL } from './support/guest.ts';
import { MAKE_PORT_PROGRAM } from './support/port-program.ts';
import { REPO, startVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

/** A guest's command that writes a letter to the port. */
const write = (letter: string): string => `printf ${letter} | /p80`;

/** Seconds of the two codes of a kernel in a log, read as Cloud Hypervisor's performance-metrics does. */
function kernelTimes(log: string): readonly [start: number, user: number] {
  const lines = log.split('\n').filter((line) => line.includes('Debug I/O port: Kernel code'));
  assert.equal(lines.length, 2, log);
  const [start, user] = lines.map((line, index) => {
    const parts = line.split('--');
    assert.equal(parts.length, 2, line);
    const words = parts[1]?.trim().split(/\s+/) ?? [];
    assert.ok(parts[1]?.includes(`0x4${index}`), line);
    assert.equal(words.length, 8, line);
    assert.equal(words[7], 'seconds', line);
    assert.match(words[6] ?? '', /^\d+\.\d+$/, line);
    return Number(words[6]);
  });
  assert.ok(start !== undefined && user !== undefined);
  return [start, user];
}

test('without -v the boot time is read from codes on standard error', async () => {
  const run = `${MAKE_PORT_PROGRAM}; ${write('@')}; ${write('A')}; poweroff -f`;
  const began = performance.now();
  const vmm = spawn(process.execPath, [
    ...[join(REPO, 'bin/cloud-hypervisor'), '--cpus', 'boot=1', '--memory', 'size=384M'],
    ...['--kernel', KERNEL, '--initramfs', INITRAMFS, '--cmdline', `console=ttyS0 nephos.run="${run}"`],
    ...['--serial', 'null', '--console', 'off'],
  ]);
  let stderr = '';
  vmm.stderr.on('data', (bytes: Buffer) => {
    stderr += bytes.toString();
  });
  try {
    assert.deepEqual(await once(vmm, 'close'), [0, null], stderr);
  } finally {
    vmm.kill('SIGKILL');
  }
  const whole = (performance.now() - began) / 1000;
  const [start, user] = kernelTimes(stderr);
  // the VMM may read both codes at once
  assert.ok(0 < start && start <= user && user < whole, `${start}, ${user}, ${whole}`);
  // the lines are those of the written codes: the kernel's delays by port 0x80 have none
  assert.equal(stderr.match(/Debug I\/O port/g)?.length, 2, stderr);
});

test('codes have seconds since the boot of their machine; a flood hides no other code', async () => {
  await using vmm = await startVmm();
  using shell = await boot(vmm);
  const booted = performance.now();
  const told = (code: string): readonly number[] =>
    [...vmm.output().matchAll(new RegExp(`-- \\[Debug I/O port: ${code}\\] ([\\d.]+) seconds`, 'g'))].map(
      ([, seconds]) => Number(seconds),
    );
  const untilTold = async (code: string, times = 1): Promise<number> => {
    await until(`${code} is told`, () => told(code).length === times, vmm.output);
    return told(code).at(-1) ?? 0;
  };
  await shell.run(MAKE_PORT_PROGRAM);
  await shell.run(write('!Aa'));
  const first = await untilTold('Kernel code 0x41');
  assert.ok((await untilTold('Bootloader code 0x21')) <= first);
  assert.ok((await untilTold('Userspace code 0x61')) >= first);

  const between = performance.now();
  await shell.run('sleep 1');
  await shell.run(write('A'));
  const second = await untilTold('Kernel code 0x41', 2);
  const now = performance.now();
  // both are times of the host's clock, as the test's own
  assert.ok(second - first < (now - booted) / 1000, `${first} ${second}`);
  assert.ok(second - first > 0 && second * 1000 > between - booted, `${first} ${second}`);

  await shell.run(`head -c 100000 /dev/zero | tr '\\0' '\\221' | /p80`, 120_000);
  await shell.run(write('b'));
  const flooded = await untilTold('Userspace code 0x62');
  const floods = told('Custom code 0x91').length;
  assert.ok(floods >= 10 && floods < 1000, `${floods}`);
  assertStatus(await vmm.get('vmm.ping'), 200);

  const rebooted = performance.now();
  assertStatus(await vmm.put('vm.reboot'), 204);
  await shell.login();
  await shell.run(MAKE_PORT_PROGRAM);
  await shell.run(write('c'));
  const afterReboot = await untilTold('Userspace code 0x63');
  assert.ok(
    afterReboot > 0 && afterReboot * 1000 < performance.now() - rebooted,
    `${afterReboot} ${flooded}`,
  );
});
