import { resolve } from 'node:path';
import { RunError } from './errors.ts';
import type { PublishedPort, RunRequest, Volume } from './run-request.ts';

/** Options of a VM. Each corresponds to a flag of `nephos run` (docs/run.md). */
export interface RunOptions {
  /** Name of the VM; a random one by default */
  readonly name?: string;
  /** Host name of the guest; the name of the VM by default */
  readonly hostname?: string;
  /** Variables of all commands, beside those of the image */
  readonly env?: Readonly<Record<string, string>>;
  /** Working directory of commands, absolute; that of the image by default */
  readonly cwd?: string;
  /** User of commands: `name`, `uid`, `name:group` or `uid:gid`; that of the image by default */
  readonly user?: string;
  /** Directories of the host in the guest */
  readonly volumes?: readonly (Omit<Volume, 'isReadOnly'> & { readonly readOnly?: boolean })[];
  /** Ports of the host that reach the guest */
  readonly ports?: readonly (Pick<PublishedPort, 'guestPort'> & Partial<PublishedPort>)[];
  /** Number of vCPUs; 1 by default */
  readonly cpus?: number;
  /** RAM in `bytes`; 512 MiB by default */
  readonly memory?: number;
  /** `user` (default): the networks of the host, without privileges; `none` */
  readonly network?: 'none' | 'user';
  readonly labels?: Readonly<Record<string, string>>;
  /** When a registry is asked; `missing` by default */
  readonly pull?: 'missing' | 'always' | 'never';
  /** `linux/amd64` or `linux/arm64`; that of the host by default */
  readonly platform?: string;
  /** Boot without a warm snapshot, and write none */
  readonly cold?: boolean;
  readonly kernel?: string;
  readonly initramfs?: string;
  readonly kernelArguments?: string;
  /** UEFI firmware of a disk image */
  readonly firmware?: string;
  /** Keep the VM directory after the end, as without `--rm` */
  readonly keep?: boolean;
}

const DEFAULTS = {
  env: {},
  cpus: 1,
  memory: 512 * 2 ** 20,
  network: 'user',
  labels: {},
  pull: 'missing',
} as const;

/** Makes the request of options. @throws RunError for options that exclude each other */
export function createOptionRequest(image: string | undefined, options: RunOptions): RunRequest {
  if (image === undefined && options.kernel === undefined)
    throw new RunError('invalid', 'neither an image nor a kernel was given');
  const { env, cpus, memory, network, labels, pull } = { ...DEFAULTS, ...withoutUndefined(options) };
  const ports = (options.ports ?? []).map(portOf);
  if (network === 'none' && ports.length > 0)
    throw new RunError('invalid', 'published ports need a network: use forward() of the VM without one');
  return {
    image,
    // its commands are those of exec(): that of the image is not needed
    command: ['/bin/sh'],
    entrypoint: '',
    isInteractive: false,
    hasTerminal: false,
    // without a command, as in the background
    isDetached: true,
    removes: options.keep !== true,
    isCold: options.cold === true,
    volumes: (options.volumes ?? []).map(volumeOf),
    ports,
    ...{ env, cpus, memory, network, labels, pull },
    ...renamedOf(options),
  };
}

function volumeOf({ host, guest, readOnly = false }: NonNullable<RunOptions['volumes']>[number]): Volume {
  return { host: resolve(host), guest, isReadOnly: readOnly };
}

function portOf({
  guestPort,
  hostPort = 0,
  address = '127.0.0.1',
  protocol = 'tcp',
}: NonNullable<RunOptions['ports']>[number]): PublishedPort {
  return { address, hostPort, guestPort, protocol };
}

/** Returns the members that have no default. */
function renamedOf(options: RunOptions): Partial<RunRequest> {
  const { name, hostname, user, cwd: workingDirectory, platform, kernelArguments } = options;
  return withoutUndefined({
    name,
    hostname,
    user,
    workingDirectory,
    platform,
    kernelArguments,
    kernel: pathOf(options.kernel),
    initramfs: pathOf(options.initramfs),
    firmware: pathOf(options.firmware),
  });
}

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** Returns a copy without members that are undefined. */
function withoutUndefined<T extends object>(members: T): Defined<T> {
  const defined = Object.entries(members).filter(([, value]) => value !== undefined);
  // the same members
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return Object.fromEntries(defined) as Defined<T>;
}

function pathOf(path: string | undefined): string | undefined {
  return path === undefined ? undefined : resolve(path);
}
