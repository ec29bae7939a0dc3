import type { SpawnOptions } from '../../guest/guest.ts';
import type { Image, ImageProcess } from '../../images/image.ts';
import { RunError } from '../errors.ts';
import type { RunRequest } from '../run-request.ts';
import type { MainCommand } from './run-command.ts';

/** Variables that docker sets where the image does not. */
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Command of an image that has none, and of a kernel alone. */
const SHELL = ['/bin/sh'];

/**
 * Returns the command of a run by the rules of docker: the entry point and the command of the image, or those of the request. A new entry
 * point replaces the image's command too.
 * @throws RunError where there is none
 */
export function commandOf(
  request: RunRequest,
  image: Image | undefined,
  hostname: string,
): Omit<MainCommand, 'timeoutMs'> {
  const process = image?.kind === 'oci' ? image.process : undefined;
  const argv = argvOf(request, process);
  if (argv.length === 0)
    throw new RunError('invalid', `image ${image?.name ?? ''}: it has no command: give one behind its name`);
  return { argv, options: { env: envOf(request, process, hostname), ...placeOf(request, process) } };
}

function placeOf(request: RunRequest, process: ImageProcess | undefined): Pick<SpawnOptions, 'cwd' | 'user'> {
  const cwd = request.workingDirectory ?? process?.workingDirectory;
  const user = request.user ?? process?.user ?? '';
  return { ...(cwd !== undefined && { cwd }), ...(user !== '' && { user }) };
}

function argvOf({ entrypoint, command }: RunRequest, process: ImageProcess | undefined): readonly string[] {
  if (entrypoint !== undefined) return [...(entrypoint === '' ? [] : [entrypoint]), ...command];
  if (process === undefined) return command.length > 0 ? command : SHELL;
  return [...process.entrypoint, ...(command.length > 0 ? command : process.command)];
}

function envOf(
  request: RunRequest,
  process: ImageProcess | undefined,
  hostname: string,
): Readonly<Record<string, string>> {
  const ofImage = (process?.env ?? []).map((pair): [string, string] => {
    const equals = pair.indexOf('=');
    return equals < 0 ? [pair, ''] : [pair.slice(0, equals), pair.slice(equals + 1)];
  });
  return {
    PATH,
    HOSTNAME: hostname,
    ...(request.hasTerminal && { TERM: 'xterm' }),
    ...Object.fromEntries(ofImage),
    ...request.env,
  };
}
