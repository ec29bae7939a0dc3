/** Boots of a guest, and logins on its consoles. */
import { assertStatus } from './answers.ts';
import { guestConfig } from './guest.ts';
import { openShell, type Shell } from './shell.ts';
import { ptyOf } from './vm-info.ts';
import type { TestVmm } from './vmm.ts';

type Members = Readonly<Record<string, unknown>>;

/** Creates a VM of exactly this configuration and boots it; does not wait for the guest. */
export async function createAndBoot(vmm: TestVmm, config: Members): Promise<void> {
  assertStatus(await vmm.put('vm.create', config), 204);
  assertStatus(await vmm.put('vm.boot'), 204);
}

/** Deletes the VM where there is one: a test that failed before may have left it. Fails where it cannot be deleted. */
export async function deleteVm(vmm: TestVmm): Promise<void> {
  const answer = await vmm.put('vm.delete');
  if (answer.status !== 404) assertStatus(answer, 204);
}

/** Waits for the login prompt on a PTY of the running guest and logs in. */
export async function login(vmm: TestVmm, which: 'serial' | 'console' = 'serial'): Promise<Shell> {
  const shell = openShell(await ptyOf(vmm, which));
  await shell.login();
  return shell;
}

/** Boots the demo guest with members of its configuration replaced, and logs in on its serial port. */
export async function boot(
  vmm: TestVmm,
  more: Members = {},
  options: { readonly tools?: boolean } = {},
): Promise<Shell> {
  await createAndBoot(vmm, guestConfig(more, options));
  return login(vmm);
}
