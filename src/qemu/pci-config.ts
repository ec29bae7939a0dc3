import type { Qmp } from './qmp.ts';

/*
 * A PCI function's configuration space, reached as a guest does it: through two I/O ports of the host bridge (PCI Local Bus
 * Specification 3.0, 3.2.2.3.2), which QEMU's human monitor can read and write while the machine stands still.
 */

const ADDRESS_PORT = 0xcf8;
const DATA_PORT = 0xcfc;
const ENABLE = 0x8000_0000;

/** How many bytes one access moves, and the monitor's letter for it. */
const LETTERS = { 1: 'b', 2: 'h', 4: 'w' } as const;
export type Width = keyof typeof LETTERS;

/** Registers that are reached by their offset. */
export interface Registers {
  readonly read: (offset: number, width: Width) => Promise<number>;
  readonly write: (offset: number, width: Width, value: number) => Promise<void>;
}

/** Lets `act` use the configuration space of the function in a slot of bus 0; the guest finds the ports as it left them. */
export async function onConfigSpace<T>(
  qmp: Qmp,
  slot: number,
  act: (space: Registers) => Promise<T>,
): Promise<T> {
  const before = await readPort(qmp, ADDRESS_PORT, 4);
  const select = (offset: number): Promise<void> =>
    writePort(qmp, ADDRESS_PORT, 4, ENABLE + slot * 0x800 + (offset & 0xfc));
  try {
    return await act({
      read: async (offset, width) => {
        await select(offset);
        return readPort(qmp, DATA_PORT + (offset & 3), width);
      },
      write: async (offset, width, value) => {
        await select(offset);
        await writePort(qmp, DATA_PORT + (offset & 3), width, value);
      },
    });
  } finally {
    await writePort(qmp, ADDRESS_PORT, 4, before);
  }
}

async function readPort(qmp: Qmp, port: number, width: Width): Promise<number> {
  const words = `i /${LETTERS[width]} ${port}`;
  const answer = String(await qmp.execute('human-monitor-command', { 'command-line': words }));
  const value = /= (0x[0-9a-f]+)/.exec(answer)?.[1];
  if (value === undefined) throw new Error(`port 0x${port.toString(16)} could not be read: ${answer.trim()}`);
  return Number(value);
}

async function writePort(qmp: Qmp, port: number, width: Width, value: number): Promise<void> {
  const words = `o /${LETTERS[width]} ${port} ${value}`;
  const answer = String(await qmp.execute('human-monitor-command', { 'command-line': words }));
  if (answer !== '') throw new Error(`port 0x${port.toString(16)} could not be written: ${answer.trim()}`);
}
