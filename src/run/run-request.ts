/*
 * Runs of images: from a request to an exit code.
 *
 *   run-request.ts     what a user asks for (command line and SDK)
 *   record.ts          files of a VM directory, and its record
 *   vm-directory/      creates, reads, lists, locks and removes VM directories; the state of a VM
 *   plan-run.ts        pure: request, image and guest tools to a VmConfig
 *   guest-tools/       kernel and initramfs of images without an init system of their own
 *   warm/              snapshots of booted images: key, cache, restore, refresh of the guest's identity
 *   clone-vm.ts        clones of a running VM: its snapshot, and their requests
 *   pool/              VMs that are restored already, for the next runs
 *   owner/             the process that owns one VM: start, connection, command, output, end
 *
 * States of a VM directory: created, stand-by, running, paused, exited, crashed. Its owner process holds a lock while it runs; a directory without a lock and
 * without an exit is `crashed`.
 *
 * Invariants: a directory is locked while it changes. A run that ends leaves its directory alone, or with `remove` nothing.
 */

/** A request to run an image. */
export interface RunRequest {
  /** Text that names the image; undefined: a kernel alone */
  readonly image: string | undefined;
  /** Command and arguments; empty: those of the image */
  readonly command: readonly string[];
  /** Replaces the image's entry point; an empty text removes it */
  readonly entrypoint?: string;
  /** Name of the VM; a random one by default */
  readonly name?: string;
  /** Host name of the guest; the name of the VM by default */
  readonly hostname?: string;
  readonly isInteractive: boolean;
  readonly hasTerminal: boolean;
  readonly isDetached: boolean;
  /** Removes the VM directory at the end */
  readonly removes: boolean;
  readonly env: Readonly<Record<string, string>>;
  readonly workingDirectory?: string;
  readonly user?: string;
  readonly volumes: readonly Volume[];
  readonly ports: readonly PublishedPort[];
  readonly cpus: number;
  /** RAM in `bytes` */
  readonly memory: number;
  /** Time limit of the command in `milliseconds` */
  readonly timeoutMs?: number;
  readonly network: 'none' | 'user';
  readonly labels: Readonly<Record<string, string>>;
  readonly pull: 'missing' | 'always' | 'never';
  readonly platform?: string;
  /** Boots without a snapshot, and writes none */
  readonly isCold: boolean;
  readonly kernel?: string;
  readonly initramfs?: string;
  /** Firmware of a disk image; found on the host by default */
  readonly firmware?: string;
  /** Further words for the kernel's command line */
  readonly kernelArguments?: string;
  /** Directory with a snapshot of a running VM of the same machine: it is restored instead of a boot, and no command is started */
  readonly snapshot?: string;
}

/** A directory of the host in the guest (virtio-fs). */
export interface Volume {
  /** Absolute path */
  readonly host: string;
  /** Absolute path */
  readonly guest: string;
  readonly isReadOnly: boolean;
}

/** A port of the host that reaches one of the guest. */
export interface PublishedPort {
  /** 127.0.0.1 by default */
  readonly address: string;
  /** 0: a free port, chosen at the start */
  readonly hostPort: number;
  readonly guestPort: number;
  readonly protocol: 'tcp' | 'udp';
}

/** Exit codes of `nephos run` beside those of the command. */
export const RUN_EXIT = {
  /** the time limit expired */
  timeout: 124,
  /** Nephos failed */
  failed: 125,
  /** the guest crashed, panicked or reset in a loop; also: the command cannot be executed */
  crashed: 126,
  /** the command was not found */
  notFound: 127,
} as const;
