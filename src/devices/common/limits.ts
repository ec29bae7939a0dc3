/*
 * Bounds of single members. The document of everything states them, and config/ enforces them: in Cloud Hypervisor's
 * words where it has the rule. Rules that join several members are in config/ alone.
 */

/** Parts of a CPU topology. */
export const TOPOLOGY_PART = { minimum: 1 } as const;

/** Kernel command line, in characters that each take a byte. */
export const CMDLINE = { pattern: '^[\\x20-\\x7e]*$', maxLength: 65_536 } as const;

/** A name or a path that must be there. */
export const NOT_EMPTY = { minLength: 1 } as const;

/** Queues of a disk or a file system. */
export const QUEUES = { minimum: 1 } as const;

/** Descriptors of a virtio queue: QEMU's bounds for disks and file systems. A power of two. */
export const QUEUE_SIZE = { minimum: 4, maximum: 1024 } as const;

/** Queues of a network: a receiving and a sending one at least. */
export const NET_QUEUES = { minimum: 2 } as const;

/** Descriptors of a network's queue: QEMU's bounds. A power of two. */
export const NET_QUEUE_SIZE = { minimum: 256, maximum: 1024 } as const;

/** Name of a network interface of the host: IFNAMSIZ without the end mark, and no template. */
export const INTERFACE_NAME = { maxLength: 15, pattern: '^[^\\x00\\s/:%]*$' } as const;

/** MAC address of one interface: the lowest bit of the first byte says multicast. */
export const UNICAST_MAC = { pattern: '^[0-9a-fA-F][02468aceACE](:[0-9a-fA-F]{2}){5}$' } as const;

/** Serial number of a disk, in bytes: the room of virtio-blk. */
export const DISK_SERIAL = { maxLength: 20 } as const;

/** Name of a file system in the guest, in bytes: the room of virtio-fs. */
export const FS_TAG = { minLength: 1, maxLength: 36 } as const;

/** Size of a pmem device, which is mapped in large pages. */
export const PMEM_SIZE = { minimum: 2 * 2 ** 20, multipleOf: 2 * 2 ** 20 } as const;

/** Size of RAM, which is mapped in pages. */
export const RAM_SIZE = { multipleOf: 4096 } as const;

/** Size of a memory zone. */
export const ZONE_SIZE = { minimum: 4096, multipleOf: 4096 } as const;

/** What RAM may grow by. */
export const HOTPLUG_SIZE = { minimum: 1 } as const;

/** Memory that several guests share. A power of two. */
export const SHARED_SIZE = { minimum: 4096 } as const;

/** A guest's vsock address has 32 bits, and the last is "any". */
export const VSOCK_CID = { maximum: 2 ** 32 - 2 } as const;

/** Groups of NVIDIA devices that QEMU knows. */
export const CLIQUE = { maximum: 15 } as const;

/** NUMA nodes that QEMU takes. */
export const NUMA_NODES = { maxItems: 128 } as const;

/** Strings of a structure of SMBIOS: their numbers have a byte. */
export const OEM_STRINGS = { maxItems: 255 } as const;

/** Files of the firmware configuration device: QEMU has 32 places, and takes some itself. */
export const FW_CFG_ITEMS = { maxItems: 16 } as const;

/** Name of a file of the firmware configuration device. */
export const FW_CFG_NAME = { pattern: '^[A-Za-z0-9][A-Za-z0-9._/-]{0,54}$' } as const;

/** A UUID in its usual form. */
export const UUID = { pattern: '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$' } as const;

/** What a Landlock rule allows. */
export const LANDLOCK_ACCESS = { pattern: '^(r|w|rw|wr)$' } as const;

/** Where a snapshot is. */
export const FILE_URL = { pattern: '^file:///[^\\x00]*$' } as const;

/** Where two VMMs meet; an IPv6 address is in brackets. */
export const SOCKET_URL = {
  pattern: '^(unix:[^\\x00]+|tcp:(\\[[^\\[\\]\\x00]+\\]|[^:\\[\\]\\x00]+):[0-9]{1,5})$',
} as const;
