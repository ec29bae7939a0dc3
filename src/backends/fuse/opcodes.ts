/*
 * The FUSE protocol over the queues of a virtio file system device (virtio 1.2, section 5.11; the structures are facts of Linux,
 * include/uapi/linux/fuse.h, protocol 7.38).
 *
 * - `opcodes.ts`, `flags.ts`, `structures.ts`: numbers of the wire, each in one place.
 * - `request.ts` is one request with its buffers and reads its arguments; `names.ts` checks names; `reply.ts` and `directory-reply.ts`
 *   encode results; `entry-operations.ts`, `file-operations.ts` and `attribute-operations.ts` map opcodes to methods of a
 *   `file-system.ts`; `operations.ts` is the table of all.
 * - `init.ts` negotiates; `connection.ts` handles a request in the negotiated state; `connection-state.ts` is that state in a snapshot.
 * - `device.ts` is the virtio device: it pops requests from its queues (`request-queue.ts`) and returns them with their replies.
 *
 * States of a connection: before INIT (every other request fails with EIO) -> running -> DESTROY or reset, which is as before INIT.
 *
 * Invariants: the guest is not trusted. The arguments of a request are copied out of guest memory once, and checked in the copy. A
 * malformed request gets an error, or no reply where it has no buffer for one. Data of READ and WRITE is not copied: the file system gets
 * the guest's buffers. No buffer is accessed after the device has stopped.
 */

/** Operations of requests (`enum fuse_opcode`). */
export const Opcode = {
  Lookup: 1,
  Forget: 2,
  Getattr: 3,
  Setattr: 4,
  Readlink: 5,
  Symlink: 6,
  Mknod: 8,
  Mkdir: 9,
  Unlink: 10,
  Rmdir: 11,
  Rename: 12,
  Link: 13,
  Open: 14,
  Read: 15,
  Write: 16,
  Statfs: 17,
  Release: 18,
  Fsync: 20,
  Setxattr: 21,
  Getxattr: 22,
  Listxattr: 23,
  Removexattr: 24,
  Flush: 25,
  Init: 26,
  Opendir: 27,
  Readdir: 28,
  Releasedir: 29,
  Fsyncdir: 30,
  Access: 34,
  Create: 35,
  Interrupt: 36,
  Destroy: 38,
  BatchForget: 42,
  Fallocate: 43,
  Readdirplus: 44,
  Rename2: 45,
  Lseek: 46,
  CopyFileRange: 47,
  Syncfs: 50,
} as const;
