/** A message of the guest's service manager: assignments `NAME=value` (sd_notify(3); systemd.io/VM_INTERFACE). */
export interface NotifyMessage {
  /** Progress of the start, a text for people (`STATUS`) */
  readonly status?: string;
  /** The guest has booted (`READY=1`) */
  readonly isReady?: boolean;
  /** A target that was reached, e.g. `ssh-access.target` (`X_SYSTEMD_UNIT_ACTIVE`) */
  readonly reached?: string;
  /** A target that was left (`X_SYSTEMD_UNIT_INACTIVE`) */
  readonly left?: string;
  /** Kind of the shutdown that is complete: `poweroff`, `reboot`, `halt`, `kexec` (`X_SYSTEMD_SHUTDOWN`), or `systemctl exit` as `exit` */
  readonly shutdown?: string;
  /** Exit code that the guest chose for `systemctl exit`, 0 to 255 (`EXIT_STATUS`) */
  readonly exitStatus?: number;
  /** Host name (`X_SYSTEMD_HOSTNAME`) */
  readonly hostname?: string;
  /** Machine id, 32 hexadecimal digits (`X_SYSTEMD_MACHINE_ID`) */
  readonly machineId?: string;
}

/** Length of a value that is kept, in characters. */
const VALUE_MAX = 256;

/**
 * Reads a message. The guest is not trusted: lines without a known name and invalid values are ignored, texts have no control
 * characters and at most 256 characters.
 */
export function readNotifyMessage(text: string): NotifyMessage {
  const values = new Map<string, string>();
  for (const line of text.split('\n')) {
    const at = line.indexOf('=');
    if (at > 0) values.set(line.slice(0, at), printable(line.slice(at + 1)));
  }
  const found: { -readonly [K in keyof NotifyMessage]: NotifyMessage[K] } = {};
  if (values.get('READY') === '1') found.isReady = true;
  for (const [member, name, pattern] of TEXTS) {
    const value = values.get(name);
    if (value !== undefined && pattern.test(value)) found[member] = value;
  }
  const exitStatus = values.get('EXIT_STATUS') ?? '';
  if (/^\d{1,3}$/.test(exitStatus) && Number(exitStatus) <= 255) found.exitStatus = Number(exitStatus);
  return found;
}

/** Members that are texts, their names and their form. */
const TEXTS = [
  ['status', 'STATUS', /./],
  ['reached', 'X_SYSTEMD_UNIT_ACTIVE', /^[\w.@:\\-]+$/],
  ['left', 'X_SYSTEMD_UNIT_INACTIVE', /^[\w.@:\\-]+$/],
  ['shutdown', 'X_SYSTEMD_SHUTDOWN', /^[a-z-]+$/],
  ['hostname', 'X_SYSTEMD_HOSTNAME', /^[\w.-]+$/],
  ['machineId', 'X_SYSTEMD_MACHINE_ID', /^[0-9a-f]{32}$/],
] as const;

/** Returns a text that is safe on a terminal. */
function printable(value: string): string {
  return value.slice(0, VALUE_MAX).replaceAll(/[^\P{C}]/gu, '?');
}
