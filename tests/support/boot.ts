import { guestConfig } from './guest.ts';
import { openShell, ptyOf, type Shell } from './shell.ts';
import { assertStatus, type TestVmm } from './vmm.ts';

/** Boots the demo guest with members of the configuration changed, and logs in on its serial port. */
export async function boot(vmm: TestVmm, more: Readonly<Record<string, unknown>> = {}): Promise<Shell> {
  assertStatus(await vmm.put('vm.create', guestConfig(more)), 204);
  assertStatus(await vmm.put('vm.boot'), 204);
  const shell = openShell(await ptyOf(vmm));
  await shell.login();
  return shell;
}
