/**
 * Differences between releases of Cloud Hypervisor in answers and rules. The form of a VM's configuration determines its dialect. The
 * form stays the same in boots, snapshots and live migrations.
 * docs/compatibility.md has a row for each member, with the release that brought it.
 */
export interface Dialect {
  /** `contract`: created with `kernel`; `current`: with `payload`, as clients do from v28 on */
  readonly name: 'contract' | 'current';
  /** prefix of the ids of devices that a VM has at most once: `_rng` is `__rng` from v24 on */
  readonly fixedPrefix: '' | '_';
  /** virtio-mem devices have the ids of their zones (v19), not generated ones */
  readonly hasZoneIds: boolean;
  /** `pci_bdf` is a text (v22), not an integer */
  readonly hasTextBdf: boolean;
  /** resources of a PCI function have the number of the BAR (v24) */
  readonly hasBars: boolean;
  /** vm.counters has the latencies of disks (v30) */
  readonly hasLatencies: boolean;
  /** several consoles can have the terminal (v37) */
  readonly sharesTerminal: boolean;
  /** huge pages, and zones that are all shared, are enough for vhost-user devices (v28) */
  readonly countsSharedPages: boolean;
  /** vm.resize and vm.resize-zone change the configuration of a VM that is not booted (v22) */
  readonly resizesConfig: boolean;
  /** a VMM exits after it has sent its VM (v18) */
  readonly endsAfterSending: boolean;
  /** the events `activated` of a restored VM's devices come before `restoring` */
  readonly emitsActivatedFirst: boolean;
}

const CONTRACT: Dialect = {
  name: 'contract',
  fixedPrefix: '',
  hasZoneIds: false,
  hasTextBdf: false,
  hasBars: false,
  hasLatencies: false,
  sharesTerminal: false,
  countsSharedPages: false,
  resizesConfig: false,
  endsAfterSending: false,
  emitsActivatedFirst: false,
};

const CURRENT: Dialect = {
  name: 'current',
  fixedPrefix: '_',
  hasZoneIds: true,
  hasTextBdf: true,
  hasBars: true,
  hasLatencies: true,
  sharesTerminal: true,
  countsSharedPages: true,
  resizesConfig: true,
  endsAfterSending: true,
  emitsActivatedFirst: true,
};

/** Returns the dialect of a VM: the only place that decides it. */
export function dialectOf({ payload }: { readonly payload: unknown }): Dialect {
  return payload === undefined ? CONTRACT : CURRENT;
}

/** Returns the id of a device that a VM has at most once, e.g. of `_rng`. */
export function fixedIdOf(id: string, { fixedPrefix }: Dialect): string {
  return `${fixedPrefix}${id}`;
}
