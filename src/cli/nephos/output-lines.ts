import type { DecodedPart } from './output-parts.ts';

/** Joins parts of an output to lines: a line of one stream is not broken by output of the other. */
export class LineJoiner {
  readonly #rests = new Map<DecodedPart['stream'], DecodedPart>();

  /** Returns the lines that a part completes, with their newline and the time of their first part. */
  take({ time, stream, bytes }: DecodedPart): DecodedPart[] {
    const before = this.#rests.get(stream);
    let rest = before === undefined ? bytes : Buffer.concat([before.bytes, bytes]);
    let start = before?.time ?? time;
    const lines: DecodedPart[] = [];
    for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
      lines.push({ time: start, stream, bytes: rest.subarray(0, end + 1) });
      rest = rest.subarray(end + 1);
      start = time;
    }
    if (rest.length === 0) this.#rests.delete(stream);
    else this.#rests.set(stream, { time: start, stream, bytes: rest });
    return lines;
  }

  /** Returns the incomplete lines, in the order of their times. */
  end(): DecodedPart[] {
    const rests = [...this.#rests.values()].toSorted((a, b) => (a.time < b.time ? -1 : 1));
    this.#rests.clear();
    return rests;
  }
}
