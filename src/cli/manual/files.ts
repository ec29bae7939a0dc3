import { bashCompletion } from './bash.ts';
import { DAEMON, REMOTE } from './commands.ts';
import { configurationReference } from './configuration.ts';
import { fishCompletion } from './fish.ts';
import { nephosCommand } from '../nephos/manual-command.ts';
import { VERBS } from '../nephos/table/verbs.ts';
import { nephosPage } from './nephos-page.ts';
import { daemonPage, remotePage } from './man.ts';
import { zshCompletion } from './zsh.ts';

/** Returns the generated files by path in the repository: completions, manual pages, the configuration reference. */
export function manualFiles(): ReadonlyMap<string, string> {
  return new Map([
    ...[DAEMON, REMOTE, nephosCommand(VERBS)].flatMap((command): [string, string][] => [
      [`completions/${command.name}.bash`, bashCompletion(command)],
      [`completions/_${command.name}`, zshCompletion(command)],
      [`completions/${command.name}.fish`, fishCompletion(command)],
    ]),
    ['man/cloud-hypervisor.1', daemonPage()],
    ['man/ch-remote.1', remotePage()],
    ['man/nephos.1', nephosPage()],
    ['docs/configuration.md', configurationReference()],
  ]);
}
