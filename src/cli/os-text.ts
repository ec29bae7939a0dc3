import { getSystemErrorMap } from 'node:util';

/** Formats an error of the operating system as Cloud Hypervisor does: `No such file or directory (os error 2)`. */
export function osText(error: unknown): string {
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  for (const [errno, [name, message]] of getSystemErrorMap()) {
    if (name === code) return `${message.charAt(0).toUpperCase()}${message.slice(1)} (os error ${-errno})`;
  }
  return error instanceof Error ? error.message : String(error);
}
