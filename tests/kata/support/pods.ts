import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { IMAGE, type KataNode } from './node.ts';
import { commands } from '../../support/processes.ts';

/** Prints the duration of a step: the suite's log has the times. */
export async function timed<T>(name: string, work: Promise<T>): Promise<T> {
  const started = performance.now();
  const result = await work;
  console.log(`${name}: ${Math.round(performance.now() - started)} ms`);
  return result;
}

/** Writes a CRI request into a file and returns its path. */
function writeRequest(node: KataNode, name: string, request: object): string {
  const path = join(node.folder, `${name}.json`);
  writeFileSync(path, JSON.stringify(request));
  return path;
}

export interface Pod {
  readonly id: string;
  /** the file with the CRI request */
  readonly request: string;
}

interface PodRequest {
  readonly name?: string;
  readonly resources?: object;
}

/** Starts a pod. */
export async function runPod(
  node: KataNode,
  { name = 'pod', resources = {} }: PodRequest = {},
): Promise<Pod> {
  const request = writeRequest(node, name, {
    metadata: { name, namespace: 'default', uid: name, attempt: 0 },
    hostname: name,
    log_directory: node.folder,
    linux: { resources },
  });
  return { id: await timed(`pod ${name}`, node.crictl('runp', '-r', 'kata', request)), request };
}

interface ContainerRequest {
  readonly name: string;
  /** further members of the CRI request */
  readonly more?: object;
}

/** Starts a container in a pod and returns its id. */
export async function startContainer(
  node: KataNode,
  pod: Pod,
  { name, more = {} }: ContainerRequest,
): Promise<string> {
  const request = writeRequest(node, `container-${name}`, {
    metadata: { name },
    image: { image: IMAGE },
    command: ['/bin/sh', '-c', `echo this is ${name}; exec sleep 86400`],
    log_path: `${name}.log`,
    linux: {},
    ...more,
  });
  const id = await node.crictl('create', pod.id, request, pod.request);
  await timed(`container ${name}`, node.crictl('start', id));
  return id;
}

/** Returns Kata's existing records of a pod: its state, its shared folder, its cgroups. */
export function recordsOf(pod: string): string[] {
  const cgroups = readdirSync('/sys/fs/cgroup').map((name) => `/sys/fs/cgroup/${name}/k8s.io/kata_${pod}`);
  return [`/run/vc/sbs/${pod}`, `/run/kata-containers/shared/sandboxes/${pod}`, ...cgroups].filter(
    existsSync,
  );
}

/** Returns the processes, files and interfaces that a pod has left on the host. */
export function remainsOf(pod: string): string[] {
  const found = [...[`/run/vc/vm/${pod}`, `/run/kata/${pod}`].filter(existsSync), ...recordsOf(pod)];
  const mounts = readFileSync('/proc/mounts', 'utf8').split('\n');
  found.push(...mounts.filter((line) => line.includes(pod)));
  return [...found, ...commands().filter((command) => command.includes(pod))];
}
