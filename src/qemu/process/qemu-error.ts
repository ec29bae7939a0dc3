import { qemuUser } from './confinement.ts';

/** Failure to start QEMU, or a part of the machine that QEMU refused; the message holds QEMU's reason. */
export class QemuError extends Error {
  /** id or node name of the part that QEMU refused; undefined if unknown */
  readonly part: string | undefined;

  constructor(message: string, part?: string, options?: ErrorOptions) {
    super(withUser(message), options);
    this.name = 'QemuError';
    this.part = part;
  }
}

/** Adds the user that QEMU runs as if permission is denied: the VMM's own user may have more rights. */
function withUser(message: string): string {
  const user = qemuUser();
  const isRefused = user !== undefined && /permission denied/i.test(message);
  return isRefused ? `${message} (to user ${user.name}, as which QEMU runs: --user)` : message;
}

/** Returns the error of a failed start. QEMU quotes a refused JSON argument: `-blockdev {"driver":...}: Could not open ...`. */
export function startError(reason: string, cause?: unknown): QemuError {
  const [, bits] = /phys-bits too low \((\d+)\)/.exec(reason) ?? [];
  if (bits !== undefined) {
    const message = `the RAM, with hotplug_size, does not fit into the ${bits} bits of the guest’s address space`;
    return new QemuError(message, undefined, { cause });
  }
  const [, json, complaint] = /^-(?:object|blockdev|netdev|device) (\{.*\}): (.+)$/s.exec(reason) ?? [];
  if (json === undefined || complaint === undefined) return new QemuError(reason, undefined, { cause });
  return new QemuError(complaint, partOf(json), { cause });
}

function partOf(json: string): string | undefined {
  try {
    const props: unknown = JSON.parse(json);
    if (typeof props !== 'object' || props === null) return undefined;
    const ids = ['node-name' in props && props['node-name'], 'id' in props && props['id']];
    return ids.find((id) => typeof id === 'string');
  } catch {
    return undefined;
  }
}
