import { NOTIFY_PORT } from '../../sdk/notify/listener.ts';
import type { DiskGuest } from './guest-identity.ts';
import { iso9660Image } from './iso9660.ts';
import { GUEST_DIRECTORY, SSH_SOCKET, sshServerFiles, sshServerUnits } from './ssh-server.ts';

/*
 * Seed disk for cloud-init (data source NoCloud): the same SSH server, host name, mounts and report of readiness as credentials.ts gives to
 * newer guests. cloud-init's own ssh keys and users are left as the image has them.
 */

/** Label by which cloud-init finds the seed. */
const LABEL = 'cidata';

/** Folder of units that are there until the next boot (systemd.unit(5)); cloud-init writes them at each boot. */
const UNITS = '/run/systemd/system';

/** Returns the content of a seed disk (ISO 9660). */
export function cloudInitSeed(guest: DiskGuest): Buffer {
  return iso9660Image(LABEL, [
    // JSON is YAML
    { name: 'meta-data', content: json({ 'instance-id': guest.id, 'local-hostname': guest.hostname }) },
    { name: 'user-data', content: `#cloud-config\n${json(userData(guest))}` },
    { name: 'network-config', content: json(networkConfig(guest)) },
  ]);
}

function json(value: unknown): string {
  return `${JSON.stringify(value)}\n`;
}

/** Python is there: cloud-init is written in it. A message ends with its connection. */
const REPORT = `import socket
s = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
s.connect((socket.VMADDR_CID_HOST, ${NOTIFY_PORT}))
s.sendall(b"READY=1\\nSTATUS=cloud-init is done.")
`;

function userData({ keys, hostname, volumes }: DiskGuest) {
  const files = [
    ...sshServerFiles(keys),
    ...sshServerUnits().map(({ name, content }) => ({ path: `${UNITS}/${name}`, mode: '0644', content })),
  ];
  return {
    hostname,
    preserve_hostname: false,
    bootcmd: [
      ['mkdir', '-p', GUEST_DIRECTORY, UNITS],
      ...files.flatMap(({ path, mode, content }) => [
        // written before cloud-init's own write_files, and at each boot
        [
          'sh',
          '-c',
          'umask 077; printf %s "$1" | base64 -d >"$2"; chmod "$3" "$2"',
          'sh',
          base64(content),
          path,
          mode,
        ],
      ]),
      ['systemctl', 'daemon-reload'],
      ['systemctl', '--no-block', 'start', SSH_SOCKET],
    ],
    mounts: volumes.map(({ tag, path, isReadOnly }) => [
      tag,
      path,
      'virtiofs',
      isReadOnly ? 'ro,nofail' : 'rw,nofail',
    ]),
    runcmd: [['python3', '-c', REPORT]],
  };
}

function base64(content: string): string {
  return Buffer.from(content).toString('base64');
}

/** Network configuration, version 2: DHCP on each interface with a name of Ethernet; none without a network. */
function networkConfig({ hasNetwork }: DiskGuest) {
  const byName = (name: string) => ({ match: { name }, dhcp4: true, optional: true });
  return { version: 2, ethernets: hasNetwork ? { en: byName('en*'), eth: byName('eth*') } : {} };
}
