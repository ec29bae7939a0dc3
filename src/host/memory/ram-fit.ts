import { fstat, read } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { formatSize } from '../../schema/size.ts';
import { createLog } from '../../util/log.ts';

const log = createLog('memory');

/** Bytes at the start of an ELF that contain its program headers. */
const HEADERS_BYTES = 4096;
const MIB = 2 ** 20;

/** Files that a machine boots from, and its RAM in `bytes`. */
interface BootedRam {
  readonly bytes: number;
  /** descriptor of an ELF, which QEMU loads to fixed addresses; undefined: another kind of kernel, or firmware */
  readonly elf: number | undefined;
  readonly initramfs: number | undefined;
}

/**
 * Rejects where RAM is too small for the kernel and the initramfs: QEMU's message would be unclear, or it would load a part and
 * start a guest without output.
 */
export async function checkKernelFits({ bytes, elf, initramfs }: BootedRam): Promise<void> {
  if (elf === undefined) return;
  const kernel = endOfElf(await readHead(elf));
  const archive = initramfs === undefined ? 0 : (await promisify(fstat)(initramfs)).size;
  if (bytes >= kernel + archive) return;
  const parts = [
    `the kernel ${inMib(kernel)}`,
    ...(archive === 0 ? [] : [`the initramfs ${inMib(archive)}`]),
  ];
  throw new Error(`${inMib(bytes)} of RAM is too small: ${parts.join(' and ')} must fit into it`);
}

async function readHead(fd: number): Promise<Buffer> {
  const head = Buffer.alloc(HEADERS_BYTES);
  const { bytesRead } = await promisify(read)(fd, head, 0, HEADERS_BYTES, 0);
  return head.subarray(0, bytesRead);
}

/** Returns the address behind the last loaded segment; 0 where there is none. */
function endOfElf(head: Buffer): number {
  if (head.length < 64) return 0;
  const [from, size, count] = [
    Number(head.readBigUInt64LE(32)),
    head.readUInt16LE(54),
    head.readUInt16LE(56),
  ];
  let end = 0;
  for (let i = 0; i < count; i++) {
    const at = from + i * size;
    if (at + 56 > head.length) break;
    const isLoaded = head.readUInt32LE(at) === 1;
    const segmentEnd = Number(head.readBigUInt64LE(at + 24)) + Number(head.readBigUInt64LE(at + 40));
    if (isLoaded) end = Math.max(end, segmentEnd);
  }
  return end;
}

/** Memory of the host, in `bytes`. */
interface HostMemory {
  readonly total: number;
  readonly available: number;
}

/** Memory of the host that zones need. */
interface Taken {
  /** all, in `bytes` */
  readonly total: number;
  /** the part that is allocated at boot */
  readonly prefaulted: number;
}

/** Rejects where the host lacks the memory that is allocated at boot; warns of more RAM than the host has in total. */
export async function checkHostMemory({ total, prefaulted }: Taken): Promise<void> {
  const host = await hostMemory();
  if (host === undefined) return;
  if (prefaulted > host.available) {
    const needed = `prefault needs ${inMib(prefaulted)} at once`;
    throw new Error(`${needed}, the host has ${inMib(host.available)} available`);
  }
  if (total <= host.total) return;
  log.warn(
    `RAM of ${inMib(total)} is more than the host has (${inMib(host.total)}): QEMU is killed when it is used up`,
  );
}

async function hostMemory(): Promise<HostMemory | undefined> {
  const text = await readFile('/proc/meminfo', 'utf8').catch(() => '');
  const bytes = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0) * 1024;
  const total = bytes('MemTotal') + bytes('SwapTotal');
  return total === 0 ? undefined : { total, available: bytes('MemAvailable') };
}

function inMib(bytes: number): string {
  return bytes % MIB === 0 ? formatSize(bytes) : `${Math.ceil(bytes / MIB)}M`;
}
