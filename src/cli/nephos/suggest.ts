import { didYouMean, nearest } from '../../util/nearest.ts';

/** Flags of other programs, and the flag with the same meaning here. */
export const FLAG_HINTS: Readonly<Record<string, string>> = {
  bind: 'volume',
  cmdline: 'append',
  cpu: 'cpus',
  environment: 'env',
  initrd: 'initramfs',
  mem: 'memory',
  mount: 'volume',
  net: 'network',
  port: 'publish',
  ram: 'memory',
  remove: 'rm',
  smp: 'cpus',
  time: 'timeout',
  vcpus: 'cpus',
  'no-cache': 'cold',
};

/** Verbs of other programs, and the verb with the same meaning here. */
const VERB_HINTS: Readonly<Record<string, string>> = {
  attach: 'console',
  check: 'doctor',
  containers: 'ps',
  copy: 'cp',
  create: 'run',
  delete: 'rm',
  destroy: 'rm',
  download: 'pull',
  gc: 'prune',
  info: 'inspect',
  install: 'setup',
  list: 'ps',
  log: 'logs',
  ls: 'ps',
  poweroff: 'stop',
  restore: 'clone',
  scp: 'cp',
  shell: 'exec',
  show: 'inspect',
  shutdown: 'stop',
  start: 'run',
  suspend: 'pause',
  top: 'stats',
  unpause: 'resume',
  version: '--version',
};

/** Returns the verb that a mistyped one most likely stands for; undefined if none is similar. */
export function suggestVerb(typed: string, verbs: readonly string[]): string | undefined {
  const word = typed.toLowerCase().replace(/^-+/, '');
  if (Object.hasOwn(VERB_HINTS, word)) return VERB_HINTS[word];
  const intended = nearest(word, [...verbs, ...Object.keys(VERB_HINTS)]) ?? '';
  return verbs.includes(intended) ? intended : VERB_HINTS[intended];
}

/** Returns `did you mean web?` for an unknown name, else the command that lists the names. */
export function suggestName(typed: string, names: readonly string[], list: string): string {
  return (
    didYouMean(nearest(typed, names)) ?? (names.length === 0 ? `${list} shows none` : `${list} shows them`)
  );
}
