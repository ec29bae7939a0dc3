import { once } from 'node:events';
import { openDescriptorSink } from '../../run/owner/descriptor-sink.ts';
import { finishOutputs, type Outputs } from '../../run/owner/finish-output.ts';
import { LineJoiner } from './output-lines.ts';
import type { DecodedPart } from './output-parts.ts';

/** Writes output of a command to the standard streams of this process. */
export interface PartWriter extends AsyncDisposable {
  /** Waits until the streams accept more. */
  readonly write: (parts: readonly DecodedPart[]) => Promise<void>;
  /** Returns true after the reader of standard output has closed. */
  readonly isClosed: () => boolean;
  /** Writes the rest. Returns the reason where output is lost */
  readonly finish: () => Promise<string | undefined>;
}

/** Opens both standard streams. With times each line begins with that of its first byte. */
export function createPartWriter({ hasTimes }: { readonly hasTimes: boolean }): PartWriter {
  const streams: Outputs = {
    stdout: openDescriptorSink(1),
    stderr: openDescriptorSink(2),
  };
  const joiner = hasTimes ? new LineJoiner() : undefined;
  const closed = new Set<DecodedPart['stream']>();
  for (const name of ['stdout', 'stderr'] as const) streams[name].on('error', () => closed.add(name));
  const writePart = async ({ time, stream, bytes }: DecodedPart): Promise<void> => {
    if (closed.has(stream)) return;
    const text = joiner === undefined ? bytes : Buffer.concat([Buffer.from(`${time} `), bytes]);
    if (streams[stream].write(text) || closed.has(stream)) return;
    await once(streams[stream], 'drain').catch(() => undefined);
  };
  const writeAll = async (parts: readonly DecodedPart[]): Promise<void> => {
    for (const part of parts) await writePart(part);
  };
  const finish = async (): Promise<string | undefined> => {
    await writeAll(joiner?.end() ?? []);
    return await finishOutputs(streams);
  };
  return {
    write: (parts) => writeAll(joiner === undefined ? parts : parts.flatMap((part) => joiner.take(part))),
    isClosed: () => closed.has('stdout'),
    finish,
    [Symbol.asyncDispose]: async () => void (await finish()),
  };
}
