import { qemuUser } from './confinement.ts';

/** QEMU could not be started, or did not make one of its parts; the message holds its own words. */
export class QemuError extends Error {
  /** id or node name of the part that QEMU refused, where it said so */
  readonly part: string | undefined;

  constructor(message: string, part?: string, options?: ErrorOptions) {
    super(withUser(message), options);
    this.name = 'QemuError';
    this.part = part;
  }
}

/** Whoever starts the VMM may open more than an engine that is another user's. */
function withUser(message: string): string {
  const user = qemuUser();
  const isRefused = user !== undefined && /permission denied/i.test(message);
  return isRefused ? `${message} (to user ${user.name}, as whom the engine runs: --user)` : message;
}

/** Reads QEMU's complaint about one of our JSON arguments: `-blockdev {"driver":...}: Could not open ...`. */
export function startError(stderrTail: string): QemuError {
  const [, bits] = /phys-bits too low \((\d+)\)/.exec(stderrTail) ?? [];
  if (bits !== undefined) {
    return new QemuError(
      `the RAM, with the room for more, does not fit into the ${bits} bits of the guest’s address space`,
    );
  }
  const match = /^-(?:object|blockdev|netdev|device) (\{.*\}): (.+)$/s.exec(stderrTail);
  const [, json, reason] = match ?? [];
  if (json === undefined || reason === undefined) return new QemuError(stderrTail);
  return new QemuError(reason, partOf(json));
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
