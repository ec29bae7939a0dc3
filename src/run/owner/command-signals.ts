import type { Guest } from '../../guest/guest.ts';
import { signalFirstCommand } from '../guest-tools/enter-command.ts';
import { KILL, readLinuxSignal, SSH_SIGNALS } from '../signals.ts';
import { serveControl } from './control-socket.ts';
import type { RunningVm } from './run-vm.ts';
import { TOOLS_ROOT } from './start-guest.ts';

/** Signals that other processes send to the command of a VM. */
export interface CommandSignals extends AsyncDisposable {
  /** Aborted by SIGKILL, which ends the VM; the reason is a RunExit */
  readonly killed: AbortSignal;
  /** Passes signals on from now on. `kill` takes the name of a signal, or its number */
  readonly start: (kill: (signal: string) => void) => void;
}

/** Opens the control socket of a VM. */
export async function openControl({ vm, guest }: Pick<RunningVm, 'vm' | 'guest'>): Promise<CommandSignals> {
  const killed = new AbortController();
  let kill: ((signal: string) => void) | undefined;
  const server = await serveControl(vm.paths.control, async (number) => {
    if (number === KILL) return killed.abort({ code: 128 + KILL });
    if (kill === undefined) throw new Error('its command has not started');
    const signal = readLinuxSignal(String(number));
    if ('hint' in signal) throw new Error(`there is no signal ${number}`);
    if (SSH_SIGNALS.includes(signal.name)) kill(signal.name);
    else if (vm.record.access === 'tools' && vm.record.process !== undefined)
      await killInTools(guest, number);
    else kill(/^[A-Z]+$/.test(signal.name) ? signal.name : String(number));
  });
  return {
    killed: killed.signal,
    start: (next) => {
      kill = next;
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

async function killInTools(guest: Guest, signal: number): Promise<void> {
  const { exitCode, stderr } = await guest.exec(signalFirstCommand(signal), { user: TOOLS_ROOT });
  if (exitCode !== 0) throw new Error(stderr.trim() || 'its command has ended');
}
