// A copy of the repository with one more kind of device.
import { execFile } from 'node:child_process';
import { appendFileSync, cpSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { promisify } from 'node:util';
import { makeFolder, REPO } from './vmm.ts';

/** Folders that the copy makes itself, or shares. */
const NOT_COPIED = new Set(['.git', 'build', 'dist', 'node_modules']);

/** Time limit of a command in the copy on a busy machine, in milliseconds. */
const COMMAND_MS = 300_000;

/** PCI ids of QEMU's `pci-testdev`, as a guest's sysfs shows them. */
export const DUMMY_PCI_IDS = '0x1b36 0x0005';

/** The device: QEMU's `pci-testdev`, a PCI function without a driver in Linux. */
const DUMMY = `import { beyond, optional, struct, type ValueOf } from '../../schema/field.ts';
import { list, nested, text } from '../../schema/kinds.ts';
import { onSlot, pciDeviceId } from '../common/pci.ts';
import { defineDevice, hotAdd, hotAddTexts } from '../device.ts';

/** A PCI device for tests. */
export interface DummyConfig extends ValueOf<typeof DummyConfig> {}
export const DummyConfig = struct({
  name: 'DummyConfig',
  doc: 'A PCI device for tests',
  fields: {
    id: optional(text('Name of the device', '<id>')),
    pci_device_id: pciDeviceId(),
  },
});

export const dummy = defineDevice({
  member: 'dummies',
  field: beyond(optional(list(nested(DummyConfig)))),
  struct: DummyConfig,
  many: true,
  flag: 'dummy',
  ids: { prefix: '_dummy' },
  takesSlot: true,
  treeNode: 'function',
  removable: true,
  hotAdd: hotAdd({
    route: 'vm.add-dummy',
    request: DummyConfig,
    texts: hotAddTexts('dummy device', 'device'),
    command: { usage: '<dummy_config>', summary: 'Add dummy device', noun: 'dummy' },
  }),
  plan: (_, at) => [{ kind: 'device', props: { driver: 'pci-testdev', ...onSlot(at) } }],
});
`;

/** A copy of the repository; disposing it removes it. */
export interface RepositoryCopy {
  /** Returns a path in the copy. */
  readonly at: (path: string) => string;
  /** Runs a command in the copy and returns its standard output; rejects with all output where it fails. */
  readonly run: (command: string, ...words: readonly string[]) => Promise<string>;
  readonly [Symbol.dispose]: () => void;
}

/** Copies the repository, and adds the dummy device as a contributor would: one folder and one line. */
export function copyWithDummyDevice(): RepositoryCopy {
  const root = makeFolder();
  const at = (path: string): string => join(root, path);
  cpSync(REPO, root, {
    recursive: true,
    filter: (path) => !NOT_COPIED.has(relative(REPO, path)),
  });
  symlinkSync(resolve(REPO, 'node_modules'), at('node_modules'));
  mkdirSync(at('src/devices/dummy'));
  writeFileSync(at('src/devices/dummy/index.ts'), DUMMY);
  appendFileSync(at('src/devices/index.ts'), "export { dummy } from './dummy/index.ts';\n");
  const run: RepositoryCopy['run'] = async (command, ...words) => {
    const limits = { timeout: COMMAND_MS, maxBuffer: 2 ** 26 };
    const { stdout } = await promisify(execFile)(command, words, { cwd: root, ...limits }).catch(
      (error: Error & { stdout?: string; stderr?: string }) => {
        throw new Error(`${command} ${words.join(' ')}\n${error.stdout}${error.stderr}`, { cause: error });
      },
    );
    return stdout;
  };
  return { at, run, [Symbol.dispose]: () => rmSync(root, { recursive: true, force: true }) };
}
