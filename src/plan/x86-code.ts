/*
 * Assembles 32-bit x86 code from the bytes of its instructions (Intel SDM, volume 2). Jumps are near jumps to labels.
 */

/** A label, the bytes of instructions, or a jump to a label. */
export type CodePart =
  | { readonly label: string }
  | readonly number[]
  | { readonly jump: keyof typeof JUMPS; readonly to: string };

const JUMPS = {
  always: [0xe9],
  ifEqual: [0x0f, 0x84],
  ifNotEqual: [0x0f, 0x85],
  ifBelow: [0x0f, 0x82],
  ifNotBelow: [0x0f, 0x83],
} as const;

const DISPLACEMENT_BYTES = 4;

/** Assembles code. @throws Error if a jump names an unknown label */
export function assemble(parts: readonly CodePart[]): Buffer {
  const labels = new Map<string, number>();
  let at = 0;
  for (const part of parts) {
    if ('label' in part) labels.set(part.label, at);
    at += lengthOf(part);
  }
  let end = 0;
  return Buffer.concat(
    parts.map((part) => {
      end += lengthOf(part);
      if ('label' in part) return Buffer.alloc(0);
      if (!('jump' in part)) return Buffer.from(part);
      const target = labels.get(part.to);
      if (target === undefined) throw new Error(`no label ${part.to}`);
      return Buffer.from([...JUMPS[part.jump], ...dword(target - end)]);
    }),
  );
}

/** Returns a 32-bit number in the byte order of instructions. */
export function dword(value: number): number[] {
  const bytes = Buffer.alloc(DISPLACEMENT_BYTES);
  bytes.writeInt32LE(value | 0);
  return [...bytes];
}

function lengthOf(part: CodePart): number {
  if ('label' in part) return 0;
  return 'jump' in part ? JUMPS[part.jump].length + DISPLACEMENT_BYTES : part.length;
}
