import type { Extent } from '../host/memory/extents.ts';
import type { OpenFiles } from './open-files.ts';
import { joinInFile, piecesOf, type Piece, type RegionSource } from './region-source.ts';

/** Reads runs of a region from the files of its chain, one after another. Rejects where a file ends early. */
export async function readSource(
  source: RegionSource,
  runs: readonly Extent[],
  { files, into }: { readonly files: OpenFiles; readonly into: Buffer },
): Promise<void> {
  await readPieces(piecesOf(source, runs), { files, into });
}

/** Reads pieces from their files, one after another. Rejects where a file ends early. */
export async function readPieces(
  pieces: readonly Piece[],
  { files, into }: { readonly files: OpenFiles; readonly into: Buffer },
): Promise<void> {
  let done = 0;
  for (const { path, at, length } of joinInFile(pieces)) {
    const file = await files.open(path);
    for (const end = done + length; done < end;) {
      const { bytesRead } = await file.read(into, done, end - done, at + length - (end - done));
      if (bytesRead === 0) throw new Error(`${path}: ends early`);
      done += bytesRead;
    }
  }
}
