// Shared libraries beside the executables: Node links to the C++ runtime, which a system with the C library alone lacks.
import { execFile } from 'node:child_process';
import { copyFile, mkdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Folder of the libraries, beside the executables. */
const FOLDER = 'lib';

/** Libraries of the compiler; all others that Node links to are the C library's, which has to be the system's own. */
const RUNTIME = ['libstdc++.so.6', 'libgcc_s.so.1'];

/** Lets the loader look for an executable's libraries in the folder beside it, before the system's folders. */
export async function setLibraryFolder(executable: string): Promise<void> {
  await run('patchelf', ['--set-rpath', `$ORIGIN/${FOLDER}`, executable]);
}

/** Copies the libraries of the compiler that a program of this machine links to into the folder beside the executables. */
export async function copyLibraries(program: string, target: string): Promise<void> {
  const { stdout } = await run('ldd', [program]);
  const paths = [...stdout.matchAll(/=> (\/.+) \(0x/g)].map(([, path = '']) => path);
  const folder = join(target, FOLDER);
  await mkdir(folder, { recursive: true });
  for (const path of paths.filter((one) => RUNTIME.includes(basename(one)))) {
    await copyFile(path, join(folder, basename(path)));
  }
}
