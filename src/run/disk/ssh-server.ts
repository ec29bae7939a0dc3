/*
 * Configuration of the image's own SSH server for connections over vsock. It uses files of its own below /run, so that the image's
 * configuration, its authorized keys and its host keys are neither used nor changed: an image that was used before, or that forbids root
 * to log in, is reached as well. Debian's sshd@.service, which systemd-ssh-generator would start, does not read systemd's credentials.
 */

/** A file of the guest. */
export interface GuestFile {
  readonly path: string;
  /** Octal digits, e.g. `0600` */
  readonly mode: string;
  readonly content: string;
}

/** Keys of a VM's SSH server. */
export interface SshServerKeys {
  /** Line of authorized_keys */
  readonly authorizedKey: string;
  /** Private key of the server, in OpenSSH's format */
  readonly hostKey: string;
}

/** Directory of the files in the guest. */
export const GUEST_DIRECTORY = '/run/nephos';

/** Paths of the files. */
export const SSH_FILES = {
  configuration: `${GUEST_DIRECTORY}/sshd_config`,
  keys: `${GUEST_DIRECTORY}/authorized_keys`,
  hostKey: `${GUEST_DIRECTORY}/ssh_host_ed25519_key`,
} as const;
const { configuration: CONFIG, keys: KEYS, hostKey: HOST_KEY } = SSH_FILES;

/** Returns the files of the SSH server. All users of the guest may read the public key: it opens no connection. */
export function sshServerFiles({ authorizedKey, hostKey }: SshServerKeys): readonly GuestFile[] {
  return [
    { path: KEYS, mode: '0644', content: `${authorizedKey}\n` },
    { path: HOST_KEY, mode: '0600', content: hostKey },
    { path: CONFIG, mode: '0600', content: `${CONFIGURATION.join('\n')}\n` },
  ];
}

/** Configuration (sshd_config(5)). PAM opens a session, and lets users in whose password is locked. */
const CONFIGURATION = [
  `HostKey ${HOST_KEY}`,
  `AuthorizedKeysFile ${KEYS}`,
  'PermitRootLogin prohibit-password',
  'PasswordAuthentication no',
  'KbdInteractiveAuthentication no',
  'UsePAM yes',
  'UseDNS no',
  'PrintMotd no',
  'X11Forwarding no',
  'MaxSessions 1000',
  'Subsystem sftp internal-sftp',
];

/** Name of the units: those of systemd-ssh-generator, which they replace. */
export const SSH_SOCKET = 'sshd-vsock.socket';

/** Returns the units of the SSH server by name. Port 22 of the vsock is that of systemd-ssh-generator. */
export function sshServerUnits(): readonly { readonly name: string; readonly content: string }[] {
  return [
    { name: SSH_SOCKET, content: SOCKET_UNIT },
    { name: 'sshd-vsock@.service', content: SERVICE_UNIT },
  ];
}

/** Socket unit. A limit of connections in a time would make it fail for good. */
const SOCKET_UNIT = `[Unit]
Description=SSH server on vsock
Wants=ssh-access.target
Before=sockets.target ssh-access.target

[Socket]
ListenStream=vsock::22
Accept=yes
MaxConnections=1000
TriggerLimitIntervalSec=0
PollLimitIntervalSec=0
`;

/** Service unit of one connection. */
const SERVICE_UNIT = `[Unit]
Description=SSH connection on vsock
CollectMode=inactive-or-failed

[Service]
ExecStart=-/usr/sbin/sshd -i -f ${CONFIG}
StandardInput=socket
RuntimeDirectory=sshd
RuntimeDirectoryPreserve=yes
RuntimeDirectoryMode=0755
`;

/** Name of the virtio-serial port of a warm start's SSH connection. */
export const SSH_PORT_NAME = 'nephos.ssh';

/** A port can be open once (virtio_console.c): the service manager opens it for both directions where the paths are equal (systemd.exec(5)). */
const PORT_FILE = `file:/dev/virtio-ports/${SSH_PORT_NAME}`;

/**
 * The sessions over vsock end first: a restored guest has nothing else to do than the first command. The host does not see the end of a
 * server on a port, so bytes follow that are no SSH packet, also within a packet (RFC 4253, 6.1).
 */
const PORT_SCRIPT = `trap '' HUP TERM
while systemctl --quiet is-active 'sshd-vsock@*.service'; do sleep 0.2; done
/usr/sbin/sshd -i -f ${CONFIG}
head -c 65536 /dev/zero | tr '\\000' '\\377'`;

/**
 * Command that starts a server on the port, for the connection that a warm snapshot has. It is no unit of the boot, so that other VMs do not
 * start it.
 */
export const START_PORT_SERVER: readonly string[] = [
  ...[
    'systemd-run',
    '--quiet',
    '--collect',
    '--unit=nephos-port',
    '--description=SSH connection on virtio-serial',
  ],
  ...[`--property=StandardInput=${PORT_FILE}`, `--property=StandardOutput=${PORT_FILE}`],
  ...['/bin/sh', '-c', PORT_SCRIPT],
];
