// Confinement of QEMU: seccomp, environment and file descriptors, read in /proc.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { createAndBoot } from './support/boot.ts';
import { guestConfig } from './support/guest.ts';
import { descriptorsOf, qemuOf } from './support/processes.ts';
import { startVmm } from './support/vmm.ts';

/** `Seccomp` of /proc/<pid>/status: 0 no filter, 2 a filter. */
async function filterOf(args: readonly string[]): Promise<{ filter: string; output: string }> {
  await using vmm = await startVmm({ args, env: { NEPHOS_TEST_SECRET: 'hidden' } });
  await createAndBoot(vmm, guestConfig({}));
  const pid = qemuOf(vmm.pid);
  const [, filter = ''] = /^Seccomp:\s*(\d)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  assert.doesNotMatch(readFileSync(`/proc/${pid}/environ`, 'latin1'), /NEPHOS|hidden/);
  // only the empty library of the build
  const disassemblers = readFileSync(`/proc/${pid}/maps`, 'latin1').match(/\/\S*capstone\S*/g) ?? [];
  assert.ok(
    disassemblers.every((path) => path.includes('/dist/replaced/')),
    disassemblers.join(),
  );
  // its own descriptors and boot files: not the API's socket, nor other files that the VMM has open
  const theirs = descriptorsOf(pid).filter((target) => target.startsWith('/') && !target.startsWith('/dev/'));
  assert.deepEqual(
    theirs.filter((target) => !/memfd|anon|\/boot\/(kernel|initramfs)-/.test(target)),
    [],
  );
  return { filter, output: vmm.output() };
}

test('QEMU has a seccomp filter, no variables of the VMM and only its own descriptors', async () => {
  assert.equal((await filterOf([])).filter, '2');
});

test('--seccomp false and log start QEMU without a filter, and log says so', async () => {
  assert.equal((await filterOf(['--seccomp', 'false'])).filter, '0');
  const { filter, output } = await filterOf(['--seccomp', 'log']);
  assert.equal(filter, '0');
  assert.match(output, /--seccomp log: QEMU has no such mode/);
});
