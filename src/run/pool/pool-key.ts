import { createHash } from 'node:crypto';
import { resolve } from 'node:path';
import { cacheFolder } from '../../host/files/cache-folder.ts';
import { parseImageName } from '../../images/image-name.ts';
import type { RunRequest } from '../run-request.ts';

declare const NEPHOS_VERSION: string;

/** Hexadecimal digits of a key. */
const KEY_DIGITS = 16;

/** A request that a pool can serve. */
export interface PoolRequest {
  /** Key of the VM that it needs */
  readonly key: string;
  /** The request, with an image that another directory does not change */
  readonly request: RunRequest;
}

/** Returns the key of a request; undefined where no pool can serve it. */
export async function poolRequestOf(request: RunRequest): Promise<PoolRequest | undefined> {
  if (!mayUsePool(request)) return undefined;
  const image = await imageOf(request.image ?? '');
  if (image === undefined) return undefined;
  const { platform, cpus, memory, network, kernel, kernelArguments } = request;
  const shape = { image: image.name, platform, cpus, memory, network, kernel, kernelArguments };
  const version = typeof NEPHOS_VERSION === 'string' ? NEPHOS_VERSION : 'development';
  const { NEPHOS_QEMU, NEPHOS_ACCEL } = process.env;
  const key = createHash('sha256')
    .update(JSON.stringify([version, cacheFolder(), NEPHOS_QEMU, NEPHOS_ACCEL, shape]))
    .digest('hex')
    .slice(0, KEY_DIGITS);
  return { key, request: { ...request, image: image.text } };
}

/** The VM of a pool has a name, and neither volumes nor ports. A terminal and a run in the background need the process of the user. */
function mayUsePool(request: RunRequest): boolean {
  const { image, isCold, isDetached, hasTerminal, volumes, ports, pull } = request;
  return (
    image !== undefined &&
    !isCold &&
    !isDetached &&
    !hasTerminal &&
    volumes.length === 0 &&
    ports.length === 0 &&
    pull !== 'always' &&
    OWN_VM.every((member) => request[member] === undefined)
  );
}

/** Members that need a VM of the run's own. */
const OWN_VM = ['name', 'snapshot', 'initramfs', 'firmware'] as const;

/** Returns the name of an OCI image by which it is compared, and its text for any working directory. */
async function imageOf(text: string): Promise<{ readonly name: string; readonly text: string } | undefined> {
  // a run as usual reports what is wrong with the name
  const name = await parseImageName(text).catch(() => undefined);
  if (name === undefined || name.kind === 'path') return undefined;
  if (name.kind === 'registry') return { name: name.name, text };
  const absolute = `${name.kind}:${resolve(name.text)}`;
  return { name: absolute, text: absolute };
}
