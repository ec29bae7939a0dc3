import { createHash } from 'node:crypto';
import type { GuestVolume } from '../plan-run.ts';
import type { SshServerKeys } from './ssh-server.ts';

/** Description of a guest with an operating system of its own: identity, access and mounts. */
export interface DiskGuest {
  /** Id of the VM, hexadecimal */
  readonly id: string;
  readonly hostname: string;
  readonly keys: SshServerKeys;
  /** virtio-fs shares that are mounted at boot */
  readonly volumes: readonly GuestVolume[];
  /** It has a network interface with DHCP */
  readonly hasNetwork: boolean;
  /** Further words for the kernel's command line */
  readonly kernelArguments?: string;
}

/** Returns the machine id of a VM (machine-id(5)): 32 hexadecimal digits, the same at each boot, another one in each VM. */
export function machineIdOf(id: string): string {
  return createHash('sha256').update(`nephos machine ${id}`).digest('hex').slice(0, 32);
}

/** Least context id of a guest: those below are reserved (vsock(7)). */
const CID_MIN = 3;

/** Returns the context id of a VM's vsock. Back-ends of two VMs never meet, so equal ones do no harm. */
export function contextIdOf(id: string): number {
  return (
    CID_MIN + (createHash('sha256').update(`nephos cid ${id}`).digest().readUInt32BE() % (2 ** 31 - CID_MIN))
  );
}
