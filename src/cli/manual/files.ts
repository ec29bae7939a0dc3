import { bashCompletion } from './bash.ts';
import { DAEMON, REMOTE } from './commands.ts';
import { configurationReference } from './configuration.ts';
import { fishCompletion } from './fish.ts';
import { daemonPage, remotePage } from './man.ts';
import { zshCompletion } from './zsh.ts';

/** What is made from the tables of the commands and from the schema: the text of each file, by its path in the repository. */
export function manualFiles(): ReadonlyMap<string, string> {
  return new Map([
    ...[DAEMON, REMOTE].flatMap((command): [string, string][] => [
      [`completions/${command.name}.bash`, bashCompletion(command)],
      [`completions/_${command.name}`, zshCompletion(command)],
      [`completions/${command.name}.fish`, fishCompletion(command)],
    ]),
    ['man/cloud-hypervisor.1', daemonPage()],
    ['man/ch-remote.1', remotePage()],
    ['docs/configuration.md', configurationReference()],
  ]);
}
