import type { PublishedPort, RunRequest } from './run-request.ts';

/** Files of a VM directory, `XDG_STATE_HOME/nephos/vms/<name>/` (mode 0700). This is the only list of their names. */
export const VM_FILES = {
  /** {@link VmRecord} as JSON, replaced atomically */
  record: 'vm.json',
  /** held (flock) by the owner process while it runs */
  lock: 'lock',
  /** socket of the VMM: the Cloud Hypervisor API */
  api: 'api.sock',
  /**
   * Socket to ports of the guest, in the protocol of the hybrid vsock (`CONNECT <port>\n`, `OK <n>\n`): port 22 is an SSH server. It is
   * the socket of the vsock device, or the owner process serves it.
   */
  guest: 'guest.sock',
  /** socket of the virtio-serial port that carries SSH */
  console: 'console.sock',
  /** socket for signals to the command, while it runs */
  control: 'control.sock',
  /** socket of a stand-by VM of a pool, until a run takes it */
  run: 'run.sock',
  /** output of the command: a line of JSON for each part, bounded */
  output: 'output.jsonl',
  /** serial port: messages of firmware, kernel and init system */
  serial: 'serial.log',
  /** log of the VMM and of the owner process */
  log: 'vmm.log',
  /** initramfs of the guest, while the VM runs */
  initramfs: 'initramfs',
  /** events of the VMM, in the format of its event monitor */
  events: 'events.json',
  /** there before `nephos kill` ends the VMM: the exit code of the run is then that of SIGKILL */
  killed: 'killed',
  /** writable overlay of a disk image */
  disk: 'disk.qcow2',
  /** overlay below it, which a warm start or a clone begins with; never written */
  base: 'base.qcow2',
  /** EFI variables of a disk image */
  variables: 'efi-variables.fd',
  /** seed disk for cloud-init, of a disk image */
  seed: 'seed.iso',
  /** private key of the VM's SSH server users, OpenSSH's format, mode 0600 */
  key: 'id_ed25519',
  /** link to the directory of the sockets, where the paths of sockets in this directory are too long for a socket address */
  sockets: 'sockets',
} as const;

/** State of a VM as `nephos ps` shows it. */
export type VmState = 'created' | 'stand-by' | 'running' | 'paused' | 'exited' | 'crashed';

/** Content of a VM's record. Paths are absolute, times are ISO 8601. */
export interface VmRecord {
  /** format of this record */
  readonly version: 1;
  readonly name: string;
  /** random, 12 hexadecimal digits */
  readonly id: string;
  readonly request: RunRequest;
  /** digest of an OCI image, path of another one, undefined without image */
  readonly imageId?: string;
  readonly created: string;
  /** process id of the owner process; meaningful only while the lock is held */
  readonly ownerPid?: number;
  readonly vmmPid?: number;
  readonly started?: string;
  readonly finished?: string;
  readonly exit?: { readonly code: number; readonly reason?: string };
  /** ports with the chosen numbers of the host */
  readonly ports: readonly PublishedPort[];
  /** SSH server of the guest: `tools`: dropbear of the guest tools; `vsock`: that of the image */
  readonly access: 'tools' | 'vsock';
  /** variables, directory and user of the command of the run: `nephos exec` uses them by default */
  readonly process?: {
    readonly env: Readonly<Record<string, string>>;
    readonly cwd?: string;
    readonly user?: string;
  };
  /** true for a VM of a pool that no run has taken yet */
  readonly isStandBy?: boolean;
  /** true after a restore from a warm snapshot */
  readonly isWarm?: boolean;
}
