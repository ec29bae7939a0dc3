import { execFile, execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import {
  type SandboxOptions,
  writeContainerdConfig,
  writeKataConfig,
  writeRuntimeRsConfig,
} from './config.ts';
import { built, KATA_PATH } from './home.ts';
import { makeFolder, REPO } from '../../support/vmm.ts';
import { addDiagnostics, until } from '../../support/wait.ts';

const run = promisify(execFile);

/** Timeout of one command, in milliseconds: a pod boots a guest. */
const COMMAND_MS = 300_000;

/** The image of all containers. */
export const IMAGE = 'localhost/nephos-busybox:1';

/** Kata's runtimes. containerd finds the shim of the type `io.containerd.<name>.v2` as `containerd-shim-<name>-v2`. */
const RUNTIMES = {
  go: { writeConfig: writeKataConfig, runtimeType: 'io.containerd.kata.v2' },
  rs: { writeConfig: writeRuntimeRsConfig, runtimeType: 'io.containerd.kata-rs.v2' },
} as const;

/** A node of a cluster in small: containerd with Kata's runtime, folders and a network of its own. */
export interface KataNode extends AsyncDisposable {
  readonly folder: string;
  /** the configuration of Kata's runtime */
  readonly kataConfig: string;
  /** a folder with the files of {@link IMAGE} */
  readonly rootfs: string;
  readonly crictl: (...args: string[]) => Promise<string>;
  readonly ctr: (...args: string[]) => Promise<string>;
  readonly kataRuntime: (...args: string[]) => Promise<string>;
  /** output of `ip link` in the network namespace of the node */
  readonly interfaces: () => Promise<string>;
}

/** Starts a node; its disposal ends all processes that it started. */
export async function startNode(options: SandboxOptions = {}): Promise<KataNode> {
  const folder = makeFolder();
  const at = (name: string): string => join(folder, name);
  const script = (name: string, ...args: string[]): void =>
    void execFileSync('bash', [join(REPO, 'scripts/kata', name), ...args], { stdio: 'pipe' });
  mkdirSync(at('rootfs'));
  script('initrd.sh', built('kata-agent'), at('initrd'));
  script('image.sh', IMAGE, at('image.tar'), at('rootfs'));
  const { writeConfig, runtimeType } = RUNTIMES[options.runtime ?? 'go'];
  writeConfig(at('kata.toml'), { ...options, initrd: at('initrd') });
  const socket = at('containerd.sock');
  writeContainerdConfig(at('containerd.toml'), {
    ...{ runtimeType, folder, socket, kataConfig: at('kata.toml'), image: IMAGE },
  });
  const endpoint = `unix://${socket}`;
  writeFileSync(
    at('crictl.yaml'),
    `runtime-endpoint: ${endpoint}\nimage-endpoint: ${endpoint}\ntimeout: 300\n`,
  );

  const syslog = startSyslog(at('syslog'));
  const containerd = startLogged('unshare', containerdArgs(at('containerd.toml')), at('containerd.log'));
  // the streams of crictl use an address in containerd's namespace
  const inNetwork = ['--net', '--target', String(containerd.pid)];
  const removeDiagnostics = addDiagnostics(() => lastLines(at('containerd.log')) + lastLines(at('syslog')));
  const node: KataNode = {
    folder,
    kataConfig: at('kata.toml'),
    rootfs: at('rootfs'),
    crictl: (...args) =>
      command('nsenter', [...inNetwork, built('crictl'), '-c', at('crictl.yaml'), ...args]),
    interfaces: () => command('nsenter', [...inNetwork, 'ip', '-br', 'link']),
    ctr: (...args) => command('ctr', ['-a', socket, ...args]),
    kataRuntime: (...args) => command(built('kata-runtime'), ['--config', at('kata.toml'), ...args]),
    [Symbol.asyncDispose]: async () => {
      removeDiagnostics();
      await endPods(node);
      await end(containerd);
      await syslog?.[Symbol.asyncDispose]();
      for (const path of mountsBelow(folder)) execFileSync('umount', [path]);
      rmSync(folder, { recursive: true, force: true });
    },
  };
  try {
    await until('containerd answers', () => node.ctr('version').then(Boolean, () => false));
    await node.ctr('-n', 'k8s.io', 'images', 'import', at('image.tar'));
    return node;
  } catch (error) {
    await node[Symbol.asyncDispose]();
    throw error;
  }
}

/** containerd in a network namespace of its own: the host never has an interface of the pods. */
function containerdArgs(config: string): string[] {
  return ['--net', 'sh', '-c', 'ip link set lo up && exec containerd -c "$1"', 'containerd', config];
}

/** Runs a command; rejects with its output. Its standard input stays open: its end is a race between the shim and `ctr exec`. */
async function command(program: string, args: readonly string[]): Promise<string> {
  const env = { ...process.env, PATH: KATA_PATH };
  const { stdout } = await run(program, [...args], { env, timeout: COMMAND_MS, maxBuffer: 2 ** 24 });
  return stdout.trim();
}

/** Starts a system log that reads their lines: without one Kata's programs exit. */
function startSyslog(target: string): AsyncDisposable | undefined {
  const socket = '/dev/log';
  if (existsSync(socket)) return undefined;
  const args = ['-u', `UNIX-RECV:${socket}`, `OPEN:${target},creat,append`];
  const child = startLogged('socat', args, `${target}.errors`);
  return {
    [Symbol.asyncDispose]: async () => {
      await end(child);
      rmSync(socket, { force: true });
    },
  };
}

function startLogged(program: string, args: readonly string[], log: string): ChildProcess {
  const out = openSync(log, 'a');
  try {
    const env = { ...process.env, PATH: KATA_PATH };
    return spawn(program, args, { stdio: ['ignore', out, out], env });
  } finally {
    closeSync(out);
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await ended;
}

async function endPods(node: KataNode): Promise<void> {
  const pods = await node.crictl('pods', '-q').catch(() => '');
  for (const pod of pods.split('\n').filter(Boolean)) await node.crictl('rmp', '-f', pod).catch(String);
}

function mountsBelow(folder: string): string[] {
  return readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((path) => path.startsWith(`${folder}/`))
    .toReversed();
}

/** Returns the end of a log, without the lines of the guest's agent about each step. */
function lastLines(path: string): string {
  if (!existsSync(path)) return '';
  return readFileSync(path, 'utf8').split('\n').slice(-40).join('\n');
}
