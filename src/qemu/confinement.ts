/**
 * How QEMU is kept from what it has no business with:
 * `on`: seccomp's filters end it at the first system call that it never needs;
 * `off`: none.
 */
export type Confinement = 'on' | 'off';

let current: Confinement = 'on';

/** Sets how every engine of this process is confined; called once, at the start. */
export function confineEngines(confinement: Confinement): void {
  current = confinement;
}

/**
 * QEMU's arguments for it. It starts no program, gains no rights, leaves scheduling alone and calls nothing that
 * only programs of another age need; it was given all descriptors that it needs.
 */
export function confinementArguments(
  confinement: Confinement = current,
  platform: NodeJS.Platform = process.platform,
): readonly string[] {
  // seccomp is Linux's
  if (confinement === 'off' || platform !== 'linux') return [];
  return ['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'];
}
