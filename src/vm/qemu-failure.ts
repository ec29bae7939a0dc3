import { ApiError } from '../api/errors.ts';
import { qemuIdOf, type Placement } from '../plan/placement.ts';
import { QemuError } from '../qemu/process/qemu-error.ts';
import { hiddenCause } from '../util/hidden-cause.ts';

/**
 * Returns an error of QEMU about one of its objects as an error about the client's device. `otherwise` is the message
 * if the object belongs to no device.
 */
export function qemuFailure(error: unknown, placements: readonly Placement[], otherwise: string): ApiError {
  if (!(error instanceof QemuError)) return new ApiError('failed', otherwise, { cause: error });
  const { part, message } = error;
  const placement = placements.find((one) => {
    const own = qemuIdOf(one);
    return part === own || part?.startsWith(`${own}.`);
  });
  if (placement === undefined) {
    const subject = part ?? otherwise;
    return new ApiError('failed', `${subject}: ${message}`, { cause: error });
  }
  const name = `${placement.device.flag ?? placement.device.member} ${placement.id}`;
  const reason = inPlainWords(message);
  return new ApiError('failed', [name, ...pathOf(placement, reason), reason].join(': '), hiddenCause(error));
}

/** Returns the path of the device if the reason does not name it. */
function pathOf({ config }: Placement, reason: string): string[] {
  const path = config === true ? undefined : config['path'];
  return typeof path === 'string' && !reason.includes(path) ? [path] : [];
}

function inPlainWords(message: string): string {
  return aboutLock(message) ?? aboutForward(message) ?? message;
}

/** Adds the possible reasons to QEMU's message about a forward: there are three, and for host port 0 only one. */
function aboutForward(message: string): string | undefined {
  const [, protocol, port] = /^Could not set up host forwarding rule '(\w+):(.*)-[^-]*'$/.exec(message) ?? [];
  if (port === undefined) return undefined;
  if (port.endsWith(':0')) return `forward: ${port} (${protocol}): this host has no such address`;
  return `forward: ${port} (${protocol}) is in use by another program, or a port below 1024 that takes CAP_NET_BIND_SERVICE, or no address of this host; host port 0 takes a free one`;
}

/** Rewords QEMU's error about a lock. At boot QEMU's message continues with a question that names the file. */
function aboutLock(message: string): string | undefined {
  const [, kind, path] = /^Failed to get (.+? lock)(?:(?:\n|; ).*\[(.*)\]\?)?$/s.exec(message) ?? [];
  if (kind === undefined) return undefined;
  const reason = `is in use by another disk or process (no ${kind})`;
  return path === undefined ? reason : `${path}: ${reason}`;
}
