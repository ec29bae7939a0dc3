// Kinds of devices that tests pin one by one, e.g. because they were compared with Cloud Hypervisor. Those tests leave out kinds
// that are new: a contributor adds one folder and one line, and everything else derives from its traits.
import type { Struct } from '../schema/field.ts';
import type { Device } from './device.ts';
import { DEVICES } from './table.ts';

const PINNED_MEMBERS = new Set(
  `balloon console cpus debug_console devices disks fs generic_vhost_user iommu ivshmem landlock_enable landlock_rules
   memory net numa pci_segments platform pmem pvmemcontrol pvpanic rate_limit_groups rng serial sgx_epc tpm
   user_devices vdpa vsock watchdog`.split(/\s+/),
);

/** Pinned kinds, in the order of PCI slots. */
export const PINNED_DEVICES: readonly Device[] = DEVICES.filter(({ member }) => PINNED_MEMBERS.has(member));

const NEW_DEVICES = DEVICES.filter(({ member }) => !PINNED_MEMBERS.has(member));
const NEW_MEMBERS = new Set(NEW_DEVICES.map(({ member }) => member));
const NEW_ROUTES = new Set<string>(NEW_DEVICES.flatMap(({ hotAdd }) => hotAdd?.route ?? []));
const NEW_STRUCTS = new Set(
  NEW_DEVICES.flatMap(({ struct }) => (struct === undefined ? [] : namesOf(struct))),
);

/** Returns whether a member of VmConfig is pinned, or is of no device. */
export function isPinnedMember(member: string): boolean {
  return !NEW_MEMBERS.has(member);
}

/** Returns whether a route is pinned, or adds no device. */
export function isPinnedRoute(route: string): boolean {
  return !NEW_ROUTES.has(route);
}

/** Returns whether a schema of the OpenAPI document is pinned, or is of no device. */
export function isPinnedStruct(name: string): boolean {
  return !NEW_STRUCTS.has(name);
}

/** Names of a struct and of those that it nests. */
function namesOf({ name, fields }: Struct): string[] {
  const nested = Object.values(fields).flatMap((field) => (field.nested === undefined ? [] : [field.nested]));
  return [name, ...nested.flatMap(namesOf)];
}
