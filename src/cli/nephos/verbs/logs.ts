import { createReadStream, existsSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { openDescriptorSink } from '../../../run/owner/descriptor-sink.ts';
import { finishOutput } from '../../../run/owner/finish-output.ts';
import { isLocked } from '../../../native/file-lock.ts';
import type { VmEntry } from '../../../run/vm-directory/vm-directories.ts';
import { LineJoiner } from '../output-lines.ts';
import { readParts, type DecodedPart } from '../output-parts.ts';
import { createPartWriter, type PartWriter } from '../part-writer.ts';
import { readCount } from '../values.ts';
import { VerbError, type CommandLine } from '../verb.ts';
import { findNamedVm } from '../vms.ts';

const POLL_MS = 100;

/** Prints the output of the command of a VM, or its serial port. */
export async function run(line: CommandLine): Promise<number> {
  const tail = line.value('tail');
  const count = tail === undefined || tail === 'all' ? undefined : readCount('tail', tail, [0, 2 ** 31]);
  const entry = await findNamedVm(line.operands[0] ?? '');
  if (line.has('serial')) return printSerial(entry, line.has('follow'));
  if (!existsSync(entry.paths.output))
    throw new VerbError(
      `the VM ${entry.record.name} has no log of its command`,
      'a run in the foreground with --rm keeps none; --serial prints the messages of the kernel',
    );
  await using writer = createPartWriter({ hasTimes: line.has('timestamps') });
  await printOutput(entry, writer, { count, follows: line.has('follow') });
  return exitOf(await writer.finish());
}

interface PrintOptions {
  /** last lines to start with; undefined: all */
  readonly count: number | undefined;
  readonly follows: boolean;
}

async function printOutput(
  { paths }: VmEntry,
  writer: PartWriter,
  { count, follows }: PrintOptions,
): Promise<void> {
  const tail = count === undefined ? undefined : new Tail(count);
  let isCaughtUp = false;
  const parts = readParts(paths.output, {
    ...(follows && { isOpen: () => isLocked(paths.lock) }),
    onCaughtUp: () => (isCaughtUp = true),
  });
  for await (const part of parts) {
    if (tail !== undefined && !isCaughtUp) {
      tail.take(part);
      continue;
    }
    await writer.write([...(tail?.end() ?? []), part]);
    if (writer.isClosed()) return;
  }
  await writer.write(tail?.end() ?? []);
}

/** Keeps the last lines of an output. */
class Tail {
  readonly #count: number;
  readonly #joiner = new LineJoiner();
  #lines: DecodedPart[] = [];

  constructor(count: number) {
    this.#count = count;
  }

  take(part: DecodedPart): void {
    this.#lines.push(...this.#joiner.take(part));
    // now and then, so that each line is moved a few times only
    if (this.#lines.length > 2 * this.#count + 1000) this.#cut();
  }

  /** Returns the last lines, and drops them. */
  end(): DecodedPart[] {
    this.#lines.push(...this.#joiner.end());
    this.#cut();
    const lines = this.#lines;
    this.#lines = [];
    return lines;
  }

  #cut(): void {
    this.#lines = this.#count === 0 ? [] : this.#lines.slice(-this.#count);
  }
}

/** Prints the serial port of a VM; follows it until the VM ends. */
async function printSerial({ record, paths }: VmEntry, follows: boolean): Promise<number> {
  if (!existsSync(paths.serial)) throw new VerbError(`the VM ${record.name} has no log of its serial port`);
  const stdout = openDescriptorSink(1);
  stdout.on('error', () => stdout.destroy());
  let at = 0;
  for (let isOpen = true; isOpen && !stdout.destroyed;) {
    // before the read: output of the last moment is printed
    isOpen = follows && (await isLocked(paths.lock));
    at = await copyFrom(paths.serial, at, stdout);
    if (isOpen) await delay(POLL_MS);
  }
  return exitOf(await finishOutput('standard output', stdout));
}

/** Returns the exit code. @throws VerbError where output is lost, with the reason */
function exitOf(lost: string | undefined): number {
  if (lost !== undefined) throw new VerbError(lost);
  return 0;
}

/** Copies a file from an offset on. @returns the offset behind its last byte */
async function copyFrom(path: string, at: number, to: NodeJS.WritableStream): Promise<number> {
  await using file = await open(path, 'r');
  const { size } = await file.stat();
  if (size <= at) return at;
  await pipeline(createReadStream(path, { start: at, end: size - 1 }), to, { end: false }).catch(
    () => undefined,
  );
  return size;
}
