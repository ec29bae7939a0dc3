import { resolve } from 'node:path';
import { resolveFirmware } from '../../host/kernel/find-firmware.ts';
import type { RunRequest } from '../../run/run-request.ts';
import { checkName } from '../../run/vm-directory/names.ts';
import { UsageError } from '../flags.ts';
import type { CommandLine } from './verb.ts';
import {
  readCount,
  readLabels,
  readPort,
  readSize,
  readTime,
  readVariableFiles,
  readVariables,
  readVolume,
  readWord,
} from './values.ts';

/** Most vCPUs of a VM. */
const CPUS_MAX = 255;

/** Makes the request of a command line of `nephos run`. @throws UsageError; RunError for a text that cannot name a VM */
export async function readRunRequest(line: CommandLine): Promise<RunRequest> {
  const [image] = line.operands;
  checkRun(line);
  const name = line.value('name');
  // before an image is fetched
  if (name !== undefined) checkName(name);
  const variables = [...(await readVariableFiles(line.values('env-file'))), ...line.values('env')];
  return {
    image,
    command: line.command,
    isInteractive: line.has('interactive'),
    hasTerminal: line.has('tty'),
    isDetached: line.has('detach'),
    removes: line.has('rm'),
    env: readVariables(variables),
    ...placeOf(line),
    ports: line.values('publish').map(readPort),
    cpus: readCount('cpus', line.value('cpus') ?? '1', [1, CPUS_MAX]),
    memory: readSize('memory', line.value('memory') ?? '512M'),
    network: readWord('network', line.value('network') ?? 'user', ['none', 'user']),
    labels: readLabels(line.values('label')),
    pull: readWord('pull', line.value('pull') ?? 'missing', ['missing', 'always', 'never']),
    isCold: line.has('cold'),
    ...optional('name', name),
    ...optional('hostname', line.value('hostname')),
    ...optional('entrypoint', line.value('entrypoint')),
    ...optional('user', line.value('user')),
    ...optional('platform', line.value('platform')),
    ...optional('kernelArguments', line.value('append')),
    ...optional('kernel', pathOf(line.value('kernel'))),
    ...optional('initramfs', pathOf(line.value('initramfs'))),
    ...optional('firmware', await firmwareOf(line.value('firmware'))),
    ...optional('timeoutMs', timeoutOf(line.value('timeout'))),
  };
}

/**
 * Returns the volumes and the working directory. A kernel alone has the current directory at its own path, so that a test beside the
 * sources runs as on the host, unless one of both was given.
 */
function placeOf(line: CommandLine): Pick<RunRequest, 'volumes' | 'workingDirectory'> {
  const workdir = line.value('workdir');
  const volumes = line.values('volume').map((text) => readVolume(text));
  const current = process.cwd();
  if (line.operands.length > 0 || workdir !== undefined || volumes.length > 0 || current === '/')
    return { volumes, ...optional('workingDirectory', workdir) };
  return { volumes: [{ host: current, guest: current, isReadOnly: false }], workingDirectory: current };
}

function checkRun(line: CommandLine): void {
  if (line.operands.length === 0 && !line.has('kernel'))
    throw new UsageError(
      'nephos run: the image is missing',
      'expected nephos run [OPTIONS] IMAGE [COMMAND], or --kernel FILE',
    );
  if (line.has('publish') && line.value('network') === 'none')
    throw new UsageError(
      '--publish needs a network',
      'remove --network none, or use nephos exec and nephos cp',
    );
  if (line.has('detach') && line.has('interactive') && !line.has('tty'))
    throw new UsageError('--interactive and --detach exclude each other', 'use nephos exec -i on the VM');
}

/** Returns a member that is absent for undefined. */
function optional<K extends string, V>(key: K, value: V | undefined): Partial<Record<K, V>> {
  const member: Partial<Record<K, V>> = {};
  if (value !== undefined) member[key] = value;
  return member;
}

function pathOf(text: string | undefined): string | undefined {
  return text === undefined ? undefined : resolve(text);
}

/** Returns the path of firmware: of a file, or by the name of one that the distribution has, e.g. `OVMF`. @throws UsageError */
async function firmwareOf(text: string | undefined): Promise<string | undefined> {
  if (text === undefined) return undefined;
  try {
    return resolve(await resolveFirmware(text));
  } catch (error) {
    throw new UsageError(`--firmware ${text}`, undefined, { cause: error });
  }
}

function timeoutOf(text: string | undefined): number | undefined {
  return text === undefined ? undefined : readTime('timeout', text);
}
