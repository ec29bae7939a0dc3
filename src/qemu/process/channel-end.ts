import { readdir, readlink } from 'node:fs/promises';
import { copyDescriptor } from '../../native/process-descriptor.ts';
import type { BlockingChannels } from './blocking-channels.ts';
import { descriptorOf, type Descriptor } from './descriptors.ts';

/** A QEMU whose channels are open. */
interface ChannelOwner {
  readonly pid: number;
  readonly blocking: Pick<BlockingChannels, 'inodes'>;
  readonly descriptors: readonly Descriptor[];
}

/** Returns a copy of QEMU's end of a channel, which the caller closes. Rejects with the reason. */
export type CopyChannelEnd = (chardev: string) => Promise<number>;

/** Returns the function that copies QEMU's ends of its channels. */
export function channelEnds({ pid, blocking, descriptors }: ChannelOwner): CopyChannelEnd {
  return async (chardev) => {
    const inode = blocking.inodes.get(chardev);
    const fd = inode === undefined ? descriptorOf(descriptors, chardev) : await socketWith(pid, inode);
    return copyDescriptor(pid, fd);
  };
}

/** Returns the number of a process's descriptor of a socket. QEMU chooses it for a socket that it receives while it runs. */
async function socketWith(pid: number, inode: number): Promise<number> {
  const folder = `/proc/${pid}/fd`;
  for (const name of await readdir(folder)) {
    const target = await readlink(`${folder}/${name}`).catch(() => '');
    if (target === `socket:[${inode}]`) return Number(name);
  }
  throw new Error(`process ${pid} has closed its end of the channel`);
}
