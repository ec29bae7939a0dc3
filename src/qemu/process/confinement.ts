/**
 * How QEMU is kept from what it has no business with:
 * `on`: seccomp's filters end it at the first system call that it never needs;
 * `off`: none.
 */
export type Filter = 'on' | 'off';

/** A user of the host's. */
export interface QemuUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  /** it is a member of groups beside its own, which it keeps */
  readonly inGroups: boolean;
}

/** What every engine of this process may do. */
export interface Confinement {
  readonly filter: Filter;
  /** whom it runs as; undefined: whom the VMM runs as */
  readonly user: QemuUser | undefined;
}

let current: Confinement = { filter: 'on', user: undefined };

/** Sets how every engine of this process is confined; called once, at the start. */
export function setConfinement(confinement: Confinement): void {
  current = confinement;
}

/** Whom engines run as, where that is another than the VMM: files are then opened for them, or must be theirs. */
export function qemuUser(): QemuUser | undefined {
  return current.user;
}

/**
 * QEMU's arguments for it. It starts no program, gains no rights, leaves scheduling alone and calls nothing that
 * only programs of another age need; it was given all descriptors that it needs.
 */
export function confinementArguments(
  filter: Filter = current.filter,
  platform: NodeJS.Platform = process.platform,
): readonly string[] {
  // seccomp is Linux's
  if (filter === 'off' || platform !== 'linux') return [];
  return ['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'];
}

/** The words by which setpriv(1) makes a process the user's, for good. */
export function userArguments(user: QemuUser | undefined = current.user): readonly string[] {
  if (user === undefined) return [];
  return [
    ...['--reuid', user.inGroups ? user.name : String(user.uid), '--regid', String(user.gid)],
    user.inGroups ? '--init-groups' : '--clear-groups',
    ...['--inh-caps', '-all', '--bounding-set', '-all', '--no-new-privs'],
  ];
}
