import type { Declare } from './file-calls.ts';

/**
 * The calls that start a process, part of `libc()`. They are declared at the first use: threads of devices start no process. `actions`,
 * `attributes` and `signals` are addresses of {@link SPAWN_BYTES} bytes. Those of posix_spawn return the error, 0 for none.
 */
export interface SpawnCalls {
  readonly posix_spawn: (
    pid: Int32Array,
    path: string,
    actions: number,
    ...rest: [attributes: number, words: readonly (string | null)[], environment: readonly (string | null)[]]
  ) => number;
  readonly posix_spawn_file_actions_init: (actions: number) => number;
  readonly posix_spawn_file_actions_adddup2: (actions: number, from: number, to: number) => number;
  readonly posix_spawn_file_actions_destroy: (actions: number) => number;
  readonly posix_spawnattr_init: (attributes: number) => number;
  readonly posix_spawnattr_setflags: (attributes: number, flags: number) => number;
  readonly posix_spawnattr_setsigdefault: (attributes: number, signals: number) => number;
  readonly posix_spawnattr_setsigmask: (attributes: number, signals: number) => number;
  readonly posix_spawnattr_destroy: (attributes: number) => number;
  readonly sigemptyset: (signals: number) => number;
  readonly sigfillset: (signals: number) => number;
  readonly waitpid: (pid: number, status: Int32Array, options: number) => number;
}

/** Space for one of the C library's structs; the largest has 336 bytes. */
export const SPAWN_BYTES = 512;

export const declareSpawnCalls = (call: Declare): SpawnCalls => ({
  posix_spawn: call(
    'int posix_spawn(_Out_ int *, const char *, size_t, size_t, const char **, const char **)',
  ),
  posix_spawn_file_actions_init: call('int posix_spawn_file_actions_init(size_t)'),
  posix_spawn_file_actions_adddup2: call('int posix_spawn_file_actions_adddup2(size_t, int, int)'),
  posix_spawn_file_actions_destroy: call('int posix_spawn_file_actions_destroy(size_t)'),
  posix_spawnattr_init: call('int posix_spawnattr_init(size_t)'),
  posix_spawnattr_setflags: call('int posix_spawnattr_setflags(size_t, short)'),
  posix_spawnattr_setsigdefault: call('int posix_spawnattr_setsigdefault(size_t, size_t)'),
  posix_spawnattr_setsigmask: call('int posix_spawnattr_setsigmask(size_t, size_t)'),
  posix_spawnattr_destroy: call('int posix_spawnattr_destroy(size_t)'),
  sigemptyset: call('int sigemptyset(size_t)'),
  sigfillset: call('int sigfillset(size_t)'),
  waitpid: call('int waitpid(int, _Out_ int *, int)'),
});
