import { mkdir, readdir, readlink, rename, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** How much is kept at most, in bytes; what was used longest ago goes first. */
const KEPT_BYTES = 2 ** 30;

/** A half-written file of a VMM that was killed is swept after this time, in milliseconds. */
const STALE_MS = 3_600_000;

/** Stands for files that cannot be unpacked, so that they are not tried at every start. */
const NOT_UNPACKED = 'none';

/** Makes the unpacked form of a file's bytes; undefined says that there is none, whenever it is tried again. */
export type Unpacker = (packed: Buffer) => Promise<Buffer | undefined>;

/**
 * The unpacked form of a file, made once and kept in `folder` under the SHA-256 of the packed bytes. A link named by
 * the file's identity (device, inode, size, times) leads there without reading the file again.
 * @returns the path of the unpacked file, undefined where there is none
 */
export async function unpackedOf(
  path: string,
  folder: string,
  unpack: Unpacker,
): Promise<string | undefined> {
  const link = join(folder, await identityOf(path));
  const known = await readlink(link).catch(() => undefined);
  if (known !== undefined && (await touch(join(folder, known)))) return within(folder, known);
  const name = await make(path, folder, unpack);
  await inOneStep(link, (half) => symlink(name, half));
  await sweep(folder);
  return within(folder, name);
}

function within(folder: string, name: string): string | undefined {
  return name === NOT_UNPACKED ? undefined : join(folder, name);
}

/** Any change of the file's content changes its ctime, which nobody can set back. */
async function identityOf(path: string): Promise<string> {
  const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
  return `of-${[dev, ino, size, mtimeNs, ctimeNs].map((one) => one.toString(36)).join('-')}`;
}

/** Marks a file as just used. */
async function touch(path: string): Promise<boolean> {
  const now = new Date();
  return utimes(path, now, now).then(
    () => true,
    () => false,
  );
}

async function make(path: string, folder: string, unpack: Unpacker): Promise<string> {
  // only the first start with a file needs these: loading them costs every start milliseconds
  const [{ createHash }, { readFile }] = await Promise.all([
    import('node:crypto'),
    import('node:fs/promises'),
  ]);
  const packed = await readFile(path);
  const name = createHash('sha256').update(packed).digest('hex');
  if (await touch(join(folder, name))) return name;
  const unpacked = await unpack(packed);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const kept = unpacked === undefined ? NOT_UNPACKED : name;
  await inOneStep(join(folder, kept), (half) => writeFile(half, unpacked ?? ''));
  return kept;
}

/** Made under another name and renamed: two VMMs that start at once both find a whole file. */
async function inOneStep(path: string, create: (half: string) => Promise<void>): Promise<void> {
  const half = `${path}.${process.pid}.half`;
  try {
    await create(half);
    await rename(half, path);
  } finally {
    await rm(half, { force: true });
  }
}

interface Kept {
  readonly path: string;
  readonly bytes: number;
  readonly used: number;
}

/** Keeps the cache within its bound; links whose file is gone go as well. */
async function sweep(folder: string): Promise<void> {
  const files = (await Promise.all((await readdir(folder)).map((name) => look(join(folder, name))))).flat();
  let bytes = 0;
  for (const file of files.toSorted((a, b) => b.used - a.used)) {
    bytes += file.bytes;
    const stale = file.path.endsWith('.half') && file.used < Date.now() - STALE_MS;
    if (bytes > KEPT_BYTES || stale || file.used === 0) await rm(file.path, { force: true });
  }
}

/** Follows links: one whose file is gone counts as never used. Another VMM may sweep at the same time. */
async function look(path: string): Promise<Kept[]> {
  const isLink = await readlink(path).then(
    () => true,
    () => false,
  );
  const status = await stat(path).catch(() => undefined);
  if (status === undefined) return isLink ? [{ path, bytes: 0, used: 0 }] : [];
  return [{ path, bytes: isLink ? 0 : status.size, used: status.mtimeMs }];
}
