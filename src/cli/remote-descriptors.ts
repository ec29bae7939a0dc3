import { readlinkSync } from 'node:fs';
import { CommandError } from './remote-bodies.ts';

/** Body of a request and the descriptors to send with it. */
export interface WithDescriptors {
  readonly body: unknown;
  readonly fds: readonly number[];
}

/**
 * Separates the descriptors of a network or a restore from the body if this process has them open as TAPs. They are sent with the
 * request, as by current versions of Cloud Hypervisor. Other descriptors are numbers of the VMM's process, as in earlier versions.
 * @throws CommandError if there are both
 */
export function takeDescriptors(body: unknown): WithDescriptors {
  if (!isObject(body)) return { body, fds: [] };
  const nets: readonly unknown[] = Array.isArray(body['net_fds']) ? body['net_fds'] : [];
  const fds = [...fdsOf(body), ...nets.filter(isObject).flatMap(fdsOf)];
  const own = fds.filter(isTap);
  if (own.length === 0) return { body, fds: [] };
  const foreign = fds.filter((fd) => !own.includes(fd));
  if (foreign.length > 0) {
    throw new CommandError(`fd: ${own.join(', ')} are TAPs of this process, ${foreign.join(', ')} are not`);
  }
  return { body: withoutNumbers(body, nets), fds };
}

/** Removes the numbers of this process from a body. */
function withoutNumbers(body: Readonly<Record<string, unknown>>, nets: readonly unknown[]): unknown {
  if (nets.length === 0) return { ...body, fds: null };
  return { ...body, net_fds: nets.map((one) => (isObject(one) ? { ...one, fds: null } : one)) };
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

function fdsOf({ fds }: Readonly<Record<string, unknown>>): readonly number[] {
  return Array.isArray(fds) ? fds.filter((fd) => typeof fd === 'number') : [];
}

function isTap(fd: number): boolean {
  try {
    return /^\/dev\/(net\/tun|tap\d+)$/.test(readlinkSync(`/proc/self/fd/${fd}`));
  } catch {
    return false;
  }
}
