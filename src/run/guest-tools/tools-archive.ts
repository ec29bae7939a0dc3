import { generateKeyPairSync } from 'node:crypto';
import { cpioArchive, type ArchiveEntry } from './cpio.ts';
import { compileHelper } from '../../guest/helper/main.ts';
import { linkPeerLibrary } from '../../guest/helper/peer-library.ts';
import { linkUsersLibrary } from '../../guest/helper/users-library.ts';
import type { KernelModule } from './modules.ts';

/** Folder of the guest tools in the initramfs; the root of dropbear. */
export const TOOLS_FOLDER = '.nephos';

/** Folder of libraries, where the dynamic linker looks first. */
export const LIBRARY_FOLDER = 'lib/x86_64-linux-gnu';

/** Programs of the tools. */
export interface ToolFiles {
  readonly busybox: Buffer;
  readonly dropbear: Buffer;
  readonly sftpServer: Buffer;
  readonly dynamicLinker: Buffer;
  /** by their file names */
  readonly libraries: ReadonlyMap<string, Buffer>;
  readonly modules: readonly KernelModule[];
}

const DIRECTORIES = [
  '',
  ...['bin', 'sbin', 'lib', LIBRARY_FOLDER, 'lib64', 'etc', 'etc/dropbear', 'modules'],
  ...['proc', 'dev', 'run', 'tmp', 'root', 'image', 'l', 'w'],
];

/**
 * Users of dropbear. `nephos` runs the texts of enter-command.ts; `root` is for other SSH programs, in the image's tree. They have no
 * password: the server is reached by private sockets only.
 */
const PASSWD = ['nephos', 'root'].map((name) => `${name}::0:0::/root:/bin/enter\n`).join('');

/** Makes the initramfs of the tools: all but the description of one boot. */
export function toolsArchive(files: ToolFiles, key = serverKey()): Buffer {
  const entries: ArchiveEntry[] = [
    ...DIRECTORIES.map((path) => ({ kind: 'directory', path }) as const),
    program('bin/enter', compileHelper()),
    program('bin/busybox', files.busybox),
    { kind: 'link', path: 'bin/sh', target: 'busybox' },
    program('sbin/dropbear', files.dropbear),
    program('lib/sftp-server', files.sftpServer),
    program('lib/ld.so', files.dynamicLinker),
    { kind: 'link', path: 'lib64/ld-linux-x86-64.so.2', target: '../lib/ld.so' },
    program('lib/peer.so', linkPeerLibrary()),
    program('lib/users.so', linkUsersLibrary()),
    ...[...files.libraries].map(([name, content]) => program(`${LIBRARY_FOLDER}/${name}`, content)),
    ...files.modules.map(({ name, content }) => file(`modules/${name}.ko`, content)),
    file('etc/passwd', Buffer.from(PASSWD)),
    file('etc/group', Buffer.from('root:x:0:\ntty:x:5:\n')),
    file('etc/shells', Buffer.from('/bin/enter\n')),
    { kind: 'file', path: 'etc/dropbear/console_key', content: key, mode: 0o600 },
  ];
  return cpioArchive(entries.map(inTools));
}

function inTools(entry: ArchiveEntry): ArchiveEntry {
  return { ...entry, path: entry.path === '' ? TOOLS_FOLDER : `${TOOLS_FOLDER}/${entry.path}` };
}

function program(path: string, content: Buffer): ArchiveEntry {
  return { kind: 'file', path, content, mode: 0o755 };
}

function file(path: string, content: Buffer): ArchiveEntry {
  return { kind: 'file', path, content };
}

/** Makes a host key in dropbear's format: the texts `ssh-ed25519`, and the seed with the public key. */
function serverKey(): Buffer {
  const { d = '', x = '' } = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' });
  const key = Buffer.concat([Buffer.from(d, 'base64url'), Buffer.from(x, 'base64url')]);
  return Buffer.concat([sshText(Buffer.from('ssh-ed25519')), sshText(key)]);
}

/** Encodes a `string` of SSH (RFC 4251, 5). */
function sshText(bytes: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}
