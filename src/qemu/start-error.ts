/** QEMU could not be started or did not take its arguments; the message holds its own words. */
export class QemuStartError extends Error {
  /** id or node name of the part that QEMU refused, where it said so */
  readonly part: string | undefined;

  constructor(message: string, part?: string) {
    super(message);
    this.name = 'QemuStartError';
    this.part = part;
  }
}

/** Reads QEMU's complaint about one of our JSON arguments: `-blockdev {"driver":...}: Could not open ...`. */
export function explainStart(lastWords: string): QemuStartError {
  const match = /^-(?:object|blockdev|netdev|device) (\{.*\}): (.+)$/s.exec(lastWords);
  const [, json, reason] = match ?? [];
  if (json === undefined || reason === undefined) return new QemuStartError(lastWords);
  return new QemuStartError(reason, partOf(json));
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
