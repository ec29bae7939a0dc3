import { homedir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import * as v from 'valibot';
import { codeOf } from '../../util/errno.ts';
import { readText } from '../../util/open-file.ts';
import { listFolder, resolveLinks, statPath } from '../../util/path-calls.ts';

/*
 * UEFI firmware of the host. Distributions describe theirs in JSON files (QEMU, docs/interop/firmware.json), the first by its name
 * being the preferred one. Those without descriptions keep it in one of a few folders.
 */

/** UEFI firmware for the machine: two images for flash. */
export interface UefiFirmware {
  /** absolute path of the code, e.g. `/usr/share/OVMF/OVMF_CODE_4M.fd` */
  readonly code: string;
  /** absolute path of the template of the EFI variables */
  readonly variables: string;
}

/** Places of the host where firmware is looked up; the first of a list has priority. */
export interface FirmwarePlaces {
  /** folders with descriptions */
  readonly descriptions: readonly string[];
  /** folders with images */
  readonly images: readonly string[];
}

function defaultPlaces(): FirmwarePlaces {
  const userFolder = process.env['XDG_CONFIG_HOME'] ?? join(homedir(), '.config');
  return {
    descriptions: [
      join(userFolder, 'qemu/firmware'),
      '/etc/qemu/firmware',
      '/usr/share/qemu/firmware',
      '/usr/local/share/qemu/firmware',
    ],
    images: [
      '/usr/share/OVMF',
      '/usr/share/ovmf',
      '/usr/share/edk2/ovmf',
      '/usr/share/edk2/x64',
      '/usr/share/edk2-ovmf/x64',
      '/usr/share/edk2-ovmf',
      '/usr/share/ovmf/x64',
      '/usr/share/qemu',
      '/usr/local/share/qemu',
    ],
  };
}

/** Names of code images in the folders, the preferred one first. */
const CODE_NAMES = [
  'OVMF_CODE_4M.fd',
  'OVMF_CODE.4m.fd',
  'OVMF_CODE.fd',
  'ovmf-x86_64-code.bin',
  'ovmf-x86_64-4m-code.bin',
  'edk2-x86_64-code.fd',
] as const;

const INSTALL = 'install the package ovmf (Debian, Ubuntu) or edk2-ovmf (Fedora, Arch Linux)';

/**
 * Finds UEFI firmware that boots on the machine: without System Management Mode, with a template of its variables.
 * @throws Error that names the folders and the package
 */
export async function findFirmware(places: FirmwarePlaces = defaultPlaces()): Promise<UefiFirmware> {
  for (const described of await describedFirmware(places)) {
    const { code, variables } = described;
    if (described.isUsable && variables !== undefined && (await isFile(code)) && (await isFile(variables)))
      return { code, variables };
  }
  for (const code of places.images.flatMap((folder) => CODE_NAMES.map((name) => join(folder, name)))) {
    const variables = (await isFile(code)) ? await findVariables(code) : undefined;
    if (variables !== undefined) return { code, variables };
  }
  throw new Error(`there is no UEFI firmware in ${places.images.join(', ')}: ${INSTALL}`);
}

/**
 * Resolves the name of firmware: `OVMF` is that of {@link findFirmware}, and the name of an image (`OVMF.fd`) is looked up in the
 * folders of distributions. Any other text, and the path of a file, is returned as it is.
 * @throws Error for a name without an image
 */
export async function resolveFirmware(
  name: string,
  places: FirmwarePlaces = defaultPlaces(),
): Promise<string> {
  if (name.includes('/') || !/^(?:ovmf|edk2|uefi)/i.test(name) || (await isFile(name))) return name;
  if (/^(?:ovmf|edk2|uefi)$/i.test(name)) return (await findFirmware(places)).code;
  for (const folder of places.images) {
    const path = join(folder, name);
    if (await isFile(path)) return path;
  }
  throw new Error(`there is no such file here, nor in ${places.images.join(', ')}: ${INSTALL}`);
}

/** Finds the template of the EFI variables beside an image of code; undefined where there is none. */
export async function findVariables(code: string): Promise<string | undefined> {
  const name = basename(code);
  const plain = name.replace(/[._-](?:secboot|ms|snakeoil)\b/, '');
  const candidates = [name, plain].flatMap((one) => [
    one.replace('CODE', 'VARS'),
    one.replace('code', 'vars'),
    // QEMU's own images: variables of both widths are the same
    one.replace('x86_64-code', 'i386-vars'),
  ]);
  for (const candidate of candidates) {
    const path = join(dirname(code), candidate);
    if (candidate !== name && candidate !== plain && (await isFile(path))) return path;
  }
  return undefined;
}

/** Returns whether firmware is described as one that needs System Management Mode, which the machine lacks. */
export async function needsSystemManagement(
  code: string,
  places: FirmwarePlaces = defaultPlaces(),
): Promise<boolean> {
  const real = await resolveLinks(code).catch(() => code);
  for (const described of await describedFirmware(places)) {
    if (!described.needsSystemManagement) continue;
    if ((await resolveLinks(described.code).catch(() => described.code)) === real) return true;
  }
  return false;
}

/** Members of a description that decide whether the machine can use it. */
const Description = v.object({
  'interface-types': v.array(v.string()),
  mapping: v.object({
    device: v.literal('flash'),
    executable: v.object({ filename: v.string(), format: v.literal('raw') }),
    'nvram-template': v.optional(v.object({ filename: v.string(), format: v.literal('raw') })),
  }),
  targets: v.array(v.object({ architecture: v.string(), machines: v.array(v.string()) })),
  features: v.array(v.string()),
});

interface DescribedFirmware {
  readonly code: string;
  readonly variables: string | undefined;
  readonly needsSystemManagement: boolean;
  readonly isUsable: boolean;
}

/** Most descriptions that are read, and the largest one in `bytes`. */
const LIMITS = { files: 100, bytes: 65_536 } as const;

/** Reads the descriptions of firmware in flash, in their order. A file hides those of its name in folders behind. */
async function describedFirmware({ descriptions }: FirmwarePlaces): Promise<DescribedFirmware[]> {
  const files = new Map<string, string>();
  for (const folder of descriptions) {
    const names = await listFolder(folder).catch(() => []);
    for (const name of names) if (name.endsWith('.json') && !files.has(name)) files.set(name, folder);
  }
  const found: DescribedFirmware[] = [];
  for (const [name, folder] of [...files].toSorted(([a], [b]) => (a < b ? -1 : 1)).slice(0, LIMITS.files)) {
    const described = await readDescription(join(folder, name));
    if (described !== undefined) found.push(described);
  }
  return found;
}

/** Returns undefined for a description of other firmware, and for a broken one: an empty file hides another. */
async function readDescription(path: string): Promise<DescribedFirmware | undefined> {
  const json = await readText(path, { limit: LIMITS.bytes })
    .then(
      (text): unknown => JSON.parse(text),
      () => undefined,
    )
    .catch(() => undefined);
  const parsed = v.safeParse(Description, json);
  if (!parsed.success || !parsed.output['interface-types'].includes('uefi')) return undefined;
  const { mapping, targets, features } = parsed.output;
  const fits = targets.some(
    ({ architecture, machines }) =>
      architecture === 'x86_64' && machines.some((one) => /^pc(?:-i440fx-.*)?$/.test(one)),
  );
  const needsSmm = features.includes('requires-smm');
  return {
    code: mapping.executable.filename,
    variables: mapping['nvram-template']?.filename,
    needsSystemManagement: needsSmm,
    isUsable: fits && !needsSmm && !features.includes('enrolled-keys'),
  };
}

async function isFile(path: string): Promise<boolean> {
  try {
    return (await statPath(path)).isFile();
  } catch (error) {
    if (codeOf(error) === 'ETIMEDOUT') throw error;
    return false;
  }
}
