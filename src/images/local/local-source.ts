import { stat } from 'node:fs/promises';
import { ImageError } from '../image-error.ts';
import type { OpenedSource } from '../image-source.ts';
import { directoryFiles, isDirectory, splitPath } from './image-files.ts';
import { layoutSource } from './oci-layout.ts';

/** An image in files of the host. */
export interface LocalRequest {
  readonly kind: 'oci' | 'oci-archive' | 'docker-archive';
  /** `PATH[:TAG]` */
  readonly text: string;
  /** Name as the user gave it */
  readonly shown: string;
}

/** Opens an image in a layout or an archive. @throws ImageError */
export async function openLocalSource({ kind, text, shown }: LocalRequest): Promise<OpenedSource> {
  if (kind !== 'oci') throw new ImageError('bad-name', shown, `${kind}: is not supported yet`);
  const { path, tag } = await splitPath(shown, text, isDirectory);
  const files = await directoryFiles(shown, path);
  const name = `oci:${path}${tag === undefined ? '' : `:${tag}`}`;
  return {
    source: layoutSource({ name, shown, files, tag }),
    [Symbol.asyncDispose]: async () => undefined,
  };
}

/** Returns the state of a file: equal for the same content, unless times are changed on purpose. */
export async function fileState(path: string): Promise<string> {
  const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
  return [dev, ino, size, mtimeNs, ctimeNs].join(' ');
}
