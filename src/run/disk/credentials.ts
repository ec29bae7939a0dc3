import { NOTIFY_ADDRESS } from '../../sdk/notify/listener.ts';
import { RunError } from '../errors.ts';
import type { GuestVolume } from '../plan-run.ts';
import { machineIdOf, type DiskGuest } from './guest-identity.ts';
import { GUEST_DIRECTORY, SSH_SOCKET, sshServerFiles, sshServerUnits } from './ssh-server.ts';

/*
 * System credentials for systemd 256 and newer, as OEM strings of SMBIOS (systemd.io/CREDENTIALS; systemd.system-credentials(7)). They
 * are in no file of the image. systemd-boot and systemd-stub read further strings for the kernel's command line.
 */

/**
 * Maximum of all strings together, in bytes: the entry point of SMBIOS 2 has 16 bits for the length of all structures (DSP0134 3.7, 5.2.1);
 * the rest is for those of QEMU.
 */
const STRINGS_MAX = 48 * 1024;

/** Units of cloud-init, in its versions since 17. */
const CLOUD_INIT = [
  'cloud-init-main.service',
  'cloud-init-local.service',
  'cloud-init-network.service',
  'cloud-init.service',
  'cloud-config.service',
  'cloud-final.service',
  'cloud-init-hotplugd.socket',
];

/**
 * Returns the OEM strings of a guest.
 * @throws RunError for volumes whose paths are too long for SMBIOS
 */
export function credentialStrings(guest: DiskGuest): string[] {
  const line = commandLineOf(guest);
  const strings = [
    ...credentialsOf(guest).map(
      ([name, content]) => `io.systemd.credential.binary:${name}=${Buffer.from(content).toString('base64')}`,
    ),
    `io.systemd.boot.kernel-cmdline-extra=${line}`,
    `io.systemd.stub.kernel-cmdline-extra=${line}`,
  ];
  const length = strings.reduce((sum, one) => sum + Buffer.byteLength(one) + 1, 0);
  if (length > STRINGS_MAX)
    throw new RunError(
      'invalid',
      `volumes and kernel arguments need ${length} bytes of SMBIOS, and ${STRINGS_MAX} are possible: use fewer volumes, or shorter paths`,
    );
  return strings;
}

/** Returns words for the kernel's command line. They replace the host name and the machine id of an image that was used before. */
export function commandLineOf({ id, hostname, kernelArguments }: DiskGuest): string {
  const words = [`systemd.hostname=${hostname}`, `systemd.machine_id=${machineIdOf(id)}`];
  return [...words, ...(kernelArguments === undefined ? [] : [kernelArguments])].join(' ');
}

function credentialsOf(guest: DiskGuest): (readonly [string, string])[] {
  return [
    ['vmm.notify_socket', NOTIFY_ADDRESS],
    // for images without systemd-boot, whose command line is out of reach, and that have none of their own
    ['system.hostname', guest.hostname],
    ['system.machine_id', machineIdOf(guest.id)],
    ['tmpfiles.extra', temporaryFiles(guest)],
    ...sshServerUnits().map(({ name, content }) => [`systemd.extra-unit.${name}`, content] as const),
    dropIn('sockets.target', `[Unit]\nWants=${SSH_SOCKET}\n`),
    ...CLOUD_INIT.map((unit) => dropIn(unit, WITHOUT_CLOUD_INIT)),
    ...networkCredentials(guest),
    ...(guest.volumes.length === 0 ? [] : [['fstab.extra', fstabOf(guest.volumes)] as const]),
  ];
}

/**
 * Skips cloud-init: credentials have done its work, and it takes 10 s and more under emulation. It runs in an image that has a seed of its
 * own. The seed disk is for guests whose systemd reads no credentials.
 */
const WITHOUT_CLOUD_INIT = ['nocloud', 'nocloud-net']
  .map((name) => `ConditionPathExists=|/var/lib/cloud/seed/${name}/meta-data\n`)
  .reduce((text, line) => text + line, '[Unit]\n');

/** Lines of tmpfiles.d(5); `f+~`: the file is replaced, its content is base64. */
function temporaryFiles({ keys }: DiskGuest): string {
  const files = sshServerFiles(keys).map(
    ({ path, mode, content }) => `f+~ ${path} ${mode} root root - ${Buffer.from(content).toString('base64')}`,
  );
  return [`d ${GUEST_DIRECTORY} 0755 root root`, ...files, ''].join('\n');
}

function networkCredentials({ hasNetwork }: DiskGuest): (readonly [string, string])[] {
  // the last one in the order of names: a file of the image that matches the interface is used instead
  if (hasNetwork)
    return [
      ['network.network.99-nephos', '[Match]\nName=en* eth*\n\n[Network]\nDHCP=ipv4\nIPv6AcceptRA=no\n'],
    ];
  // it would wait for a connection for two minutes
  return [dropIn('systemd-networkd-wait-online.service', '[Service]\nExecStart=\nExecStart=/bin/true\n')];
}

function dropIn(unit: string, content: string): readonly [string, string] {
  return [`systemd.unit-dropin.${unit}`, content];
}

/** Lines of fstab(5), whose fields have octal codes for white space. A share that is missing does not stop the boot. */
export function fstabOf(volumes: readonly GuestVolume[]): string {
  return volumes
    .map(({ tag, path, isReadOnly }) => {
      const target = path.replaceAll(
        /[\s\\#]/g,
        (one) => `\\${one.charCodeAt(0).toString(8).padStart(3, '0')}`,
      );
      return `${tag} ${target} virtiofs ${isReadOnly ? 'ro' : 'rw'},nofail 0 0\n`;
    })
    .join('');
}
