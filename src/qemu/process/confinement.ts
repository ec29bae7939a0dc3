/*
 * Confinement of QEMU: the seccomp filter and the host user. It is set once for all QEMU processes of this VMM.
 */

/** `on`: QEMU's seccomp filter ends it at a system call outside of its list; `off`: no filter. */
export type Filter = 'on' | 'off';

/** A user of the host. */
export interface QemuUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  /** true if the user has supplementary groups, which QEMU keeps */
  readonly inGroups: boolean;
}

/** Limits of every QEMU of this process. */
export interface Confinement {
  readonly filter: Filter;
  /** user that QEMU runs as; undefined: the user of the VMM */
  readonly user: QemuUser | undefined;
}

let current: Confinement = { filter: 'on', user: undefined };

/** Sets the confinement of every QEMU of this process. Called once, at start-up. */
export function setConfinement(confinement: Confinement): void {
  current = confinement;
}

/** Returns the user that QEMU runs as; undefined if it is the VMM's own. Another user cannot open every file of the VMM. */
export function qemuUser(): QemuUser | undefined {
  return current.user;
}

/** Returns QEMU's arguments for the filter. It forbids starts of programs, more privileges, changes of scheduling and obsolete calls. */
export function confinementArguments(
  filter: Filter = current.filter,
  platform: NodeJS.Platform = process.platform,
): readonly string[] {
  // only Linux has seccomp
  if (filter === 'off' || platform !== 'linux') return [];
  return ['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'];
}

/** Returns the arguments by which setpriv(1) changes to the user for good. */
export function userArguments(user: QemuUser | undefined = current.user): readonly string[] {
  if (user === undefined) return [];
  return [
    ...['--reuid', user.inGroups ? user.name : String(user.uid), '--regid', String(user.gid)],
    user.inGroups ? '--init-groups' : '--clear-groups',
    ...['--inh-caps', '-all', '--bounding-set', '-all', '--no-new-privs'],
  ];
}
