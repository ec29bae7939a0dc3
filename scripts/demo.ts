// `npm run demo`: boots a Linux guest through the API, runs commands in it and powers it off.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { constants, mkdtempSync, openSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ReadStream } from 'node:tty';

/** Limit for one step of the demo, in milliseconds; enough for a slow machine with emulation. */
const PATIENCE_MS = 120_000;

/** The guest's shell queries the position of the cursor. The user's terminal must not reply: its reply would be input. */
const CURSOR_QUERY = '\x1b[6n';

/** Messages of the kernel may follow it. */
const PROMPT = 'nephos# ';

const colours = process.stdout.isTTY;
const bold = (text: string): string => (colours ? `\x1b[1m${text}\x1b[0m` : text);
const dim = (text: string): string => (colours ? `\x1b[2m${text}\x1b[0m` : text);

const folder = mkdtempSync(join(tmpdir(), 'nephos-demo-'));
const socket = join(folder, 'api.sock');
const guest = join(
  process.env['NEPHOS_CACHE'] ?? join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'nephos'),
  'guest',
);
const timings: (readonly [string, number])[] = [];

let vmm: ChildProcess | undefined;
// also after an error
process.once('exit', () => vmm?.kill('SIGKILL'));
try {
  await demo();
} catch (error) {
  console.error(`\nThe demo failed: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
// an open console must not keep the process running
process.exit();

async function demo(): Promise<void> {
  title('Start the VMM');
  console.log(`$ bin/cloud-hypervisor --api-socket path=${socket}`);
  vmm = spawn('bin/cloud-hypervisor', ['--api-socket', `path=${socket}`], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const exited = once(vmm, 'exit');
  await step('VMM answers', () => waitFor(() => send('GET', 'vmm.ping').then(() => true)));
  await call('GET', 'vmm.ping');

  title('Create and boot a VM');
  await step('vm.create', () => call('PUT', 'vm.create', config()));
  await step('vm.boot', () => call('PUT', 'vm.boot'));

  title('The guest boots; its serial console is a PTY');
  const shell = openConsole(ptyOf(await send('GET', 'vm.info')));
  await step('boot to login', () => waitFor(() => shell.shown().includes('login:')));
  await step('log in and ask', async () => {
    shell.type('root\r');
    await waitFor(() => shell.shown().includes(PROMPT));
    for (const question of [
      'uname -a',
      'cat /proc/uptime',
      'grep MemTotal /proc/meminfo',
      'echo $((6 * 7))',
    ]) {
      const from = shell.shown().length;
      shell.type(`${question}\r`);
      await waitFor(() => shell.shown().includes(PROMPT, from));
    }
  });

  title('The VM as the API reports it');
  showInfo(await send('GET', 'vm.info'));

  title('Power button');
  await step('power-button to exit', async () => {
    await call('PUT', 'vm.power-button');
    const [code] = await exited;
    console.log(`\nThe guest powered itself off and the VMM exited with ${code}.`);
    if (code !== 0) throw new Error(`the VMM exited with ${code}`);
  });
  title('How long it took');
  for (const [name, ms] of timings) console.log(`${name.padEnd(22)} ${(ms / 1000).toFixed(3).padStart(8)} s`);
}

function config(): Record<string, unknown> {
  return {
    cpus: { boot_vcpus: 1, max_vcpus: 1 },
    memory: { size: 512 * 2 ** 20 },
    kernel: { path: join(guest, 'vmlinuz') },
    initramfs: { path: join(guest, 'initramfs.cpio.gz') },
    cmdline: { args: 'console=ttyS0' },
    serial: { mode: 'Pty' },
    console: { mode: 'Off' },
  };
}

function title(text: string): void {
  console.log(`\n${bold(`== ${text}`)}`);
}

async function step(name: string, act: () => Promise<void>): Promise<void> {
  const start = performance.now();
  await act();
  timings.push([name, performance.now() - start]);
}

async function waitFor(holds: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  while (!(await Promise.resolve(holds()).catch(() => false))) {
    if (performance.now() > end) throw new Error(`nothing happened for ${PATIENCE_MS / 1000} s`);
    if (vmm?.exitCode !== null) throw new Error(`the VMM ended with exit code ${vmm?.exitCode}`);
    await delay(5);
  }
}

interface Answer {
  readonly status: number;
  readonly text: string;
}

/** Sends a request, and prints it with its reply. */
async function call(method: string, name: string, body?: unknown): Promise<void> {
  const data = body === undefined ? '' : ` -d '${JSON.stringify(body)}'`;
  console.log(dim(`$ curl --unix-socket ${socket} -X ${method} http://localhost/api/v1/${name}${data}`));
  const { status, text } = await send(method, name, body);
  console.log(`${status} ${text}`);
  if (status >= 400) throw new Error(`${name} was answered ${status} ${text}`);
}

function send(method: string, name: string, body?: unknown): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      { socketPath: socket, method, path: `/api/v1/${name}`, agent: false },
      (incoming) => {
        let text = '';
        incoming.on('data', (bytes: Buffer) => (text += bytes.toString('utf8')));
        incoming.on('end', () => resolve({ status: incoming.statusCode ?? 0, text }));
      },
    );
    outgoing.on('error', reject);
    outgoing.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

interface Info {
  readonly state: string;
  readonly memory_actual_size: number;
  readonly config: {
    readonly cpus: { readonly boot_vcpus: number; readonly max_vcpus: number };
    readonly serial: { readonly mode: string; readonly file?: string };
  };
}

function parseInfo({ text }: Answer): Info {
  // a reply of the VMM, which checks it
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return JSON.parse(text) as Info;
}

function ptyOf(answer: Answer): string {
  const path = parseInfo(answer).config.serial.file;
  if (path === undefined) throw new Error('vm.info shows no PTY');
  return path;
}

function showInfo(answer: Answer): void {
  const { state, memory_actual_size: memory, config: vm } = parseInfo(answer);
  console.log(`state   ${state}`);
  console.log(`memory  ${memory / 2 ** 20} MiB`);
  console.log(`vCPUs   ${vm.cpus.boot_vcpus} of ${vm.cpus.max_vcpus}`);
  console.log(`serial  ${vm.serial.mode} ${vm.serial.file ?? ''}`);
}

/** Prints the output of the guest's console, and types into it. */
function openConsole(path: string) {
  const stream = new ReadStream(openSync(path, constants.O_RDWR | constants.O_NOCTTY));
  let shown = '';
  stream.on('data', (bytes: Buffer) => {
    const text = bytes.toString('utf8').replaceAll(CURSOR_QUERY, '');
    shown += text;
    process.stdout.write(text);
  });
  // the VMM closes the PTY when it exits
  stream.on('error', () => undefined);
  return { shown: () => shown, type: (text: string) => void stream.write(text) };
}
