import { listImages } from '../../../images/index.ts';
import type { StoredImage } from '../../../images/store-functions.ts';
import { warmBytesOf } from '../../../run/image-caches.ts';
import { columns, showAge, showJson, showSize } from '../text.ts';
import { readWord } from '../values.ts';
import type { CommandLine } from '../verb.ts';

/** Length of a shown digest, in hexadecimal digits. */
const SHORT = 12;

/** Lists the images in the store. */
export async function run(line: CommandLine): Promise<number> {
  const format = readWord('format', line.value('format') ?? 'table', ['table', 'json']);
  const stored = await listImages();
  const warm = await warmBytesOf(stored);
  const images = stored.map((image, at) => ({ ...image, warmSize: warm[at] ?? 0 }));
  process.stdout.write(showImages(images, line.has('quiet') ? 'names' : format));
  return 0;
}

/** An image with the disk space of its warm snapshots, in `bytes`. */
type ShownImage = StoredImage & { readonly warmSize: number };

/** Returns the list as a table, as JSON, or as names: the digest of an image without one. */
export function showImages(images: readonly ShownImage[], form: 'table' | 'json' | 'names'): string {
  switch (form) {
    case 'names':
      return images.flatMap((one) => namesOf(one).map((name) => `${name}\n`)).join('');
    case 'json':
      return showJson(images);
    case 'table':
      return columns([['NAME', 'DIGEST', 'PLATFORM', 'SIZE', 'WARM', 'PULLED'], ...images.flatMap(rowsOf)]);
  }
}

function namesOf({ names, digest }: StoredImage): readonly string[] {
  return names.length > 0 ? names : [digest];
}

function rowsOf({ names, digest, platform, size, pulled, isComplete, warmSize }: ShownImage): string[][] {
  const short = digest.replace(/^sha256:/, '').slice(0, SHORT);
  const shown = isComplete ? showSize(size) : `${showSize(size)} (incomplete)`;
  return (names.length > 0 ? names : ['<none>']).map((name) => [
    name,
    short,
    platform,
    shown,
    warmSize === 0 ? '-' : showSize(warmSize),
    `${showAge(pulled)} ago`,
  ]);
}
