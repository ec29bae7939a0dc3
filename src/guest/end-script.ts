/*
 * POSIX scripts that signal a command in the guest. They use no program but `sleep`, and contain no single quotes, backslashes or
 * exclamation marks (render-command.ts).
 */

/** Time between SIGTERM and SIGKILL, in tenths of a second. */
const GRACE_TENTHS = 20;

/** Rounds of SIGKILL: a process may fork between the search and the signal. */
const KILL_ROUNDS = 10;

/** Returns the script that sends a signal to a process group. `signal` is checked: letters and digits. */
export function signalScript(pid: number, signal: string): string {
  return `kill -s ${signal} -- -${pid} 2>/dev/null || kill -s ${signal} ${pid}`;
}

/**
 * Returns the script that ends a command: SIGTERM to its process group, and SIGKILL after the grace period to what is left of the group and
 * of its session. A process with a session of its own (a daemon) is left alone. The search of /proc comes last, because an emulated guest
 * needs a tenth of a second for it.
 */
export function endScript(pid: number): string {
  return [
    `s=${pid} n=0`,
    // the state, the group and the session follow the name, which may contain spaces and parentheses
    'find() { m=; for f in /proc/[0-9]*/stat; do l=; { read -r l; } 2>/dev/null <$f; set -- ${l##*) }; ' +
      'case $1 in Z|X|"") continue;; esac; ' +
      'if [ "$3" = $s ] || [ "$4" = $s ]; then f=${f#/proc/}; m="$m ${f%/stat}"; fi; done; }',
    'kill -s TERM -- -$s 2>/dev/null; kill -s CONT -- -$s 2>/dev/null',
    `while kill -s 0 -- -$s 2>/dev/null && [ $n -lt ${GRACE_TENTHS} ]; do ` +
      'sleep 0.1 2>/dev/null || { sleep 1; n=$((n+9)); }; n=$((n+1)); done',
    'kill -s KILL -- -$s 2>/dev/null; n=0; find',
    `while [ -n "$m" ] && [ $n -lt ${KILL_ROUNDS} ]; do kill -s KILL $m 2>/dev/null; n=$((n+1)); find; done`,
    '[ -z "$m" ]',
  ].join('; ');
}
