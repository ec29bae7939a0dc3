import { INITRAMFS, INITRAMFS_WITH_TOOLS, KERNEL } from './guest.ts';

/** The files and sockets of a Kata sandbox. */
export interface Sandbox {
  readonly image: string;
  readonly fs: string;
  readonly vsock: string;
  readonly tap?: string;
}

const CMDLINE = 'console=ttyS0 panic=1 agent.log=debug';
const MIB = 2 ** 20;

/** vm.create as the Go runtime of Kata 2.2 sends it, in the API's first dialect. */
export function kata22({ image, fs, vsock, tap }: Sandbox): unknown {
  return {
    kernel: { path: KERNEL },
    cmdline: { args: CMDLINE },
    initramfs: { path: INITRAMFS },
    cpus: { boot_vcpus: 1, max_vcpus: 2 },
    memory: { size: 512 * MIB, shared: true, hotplug_method: 'Acpi', hotplug_size: 1024 * MIB },
    pmem: [{ file: image }],
    net: [{ mac: '2e:00:00:00:22:01', tap }],
    rng: { src: '/dev/urandom', iommu: false },
    fs: [{ tag: 'kataShared', socket: fs, num_queues: 1, queue_size: 1024, dax: false, cache_size: 0 }],
    sgx_epc: [],
    vsock: { cid: 3, socket: vsock, iommu: false },
    serial: { mode: 'Tty' },
    console: { mode: 'Off' },
  };
}

/** vm.create as the Go runtime of today sends it: networks are added later by vm.add-net. */
export function kataGo({ image, fs, vsock }: Sandbox): unknown {
  return {
    payload: { kernel: KERNEL, cmdline: CMDLINE, initramfs: INITRAMFS_WITH_TOOLS },
    platform: { num_pci_segments: 2 },
    cpus: {
      boot_vcpus: 2,
      max_vcpus: 4,
      topology: { threads_per_core: 1, cores_per_die: 4, dies_per_package: 1, packages: 1 },
    },
    memory: { size: 512 * MIB, shared: true, hugepages: false, hotplug_size: 1024 * MIB },
    balloon: { size: 0, free_page_reporting: true },
    rng: { src: '/dev/urandom', iommu: false },
    disks: [{ path: image, readonly: true, image_type: 'Raw' }],
    fs: [{ tag: 'kataShared', socket: fs, num_queues: 1, queue_size: 1024, pci_segment: 1 }],
    vsock: { cid: 3, socket: vsock, iommu: false },
    serial: { mode: 'Tty' },
    console: { mode: 'Off', iommu: false },
  };
}

const NO_CONSOLE = { file: null, mode: 'Off', iommu: false };

/** A disk as runtime-rs sends it: members without a value are `null`. */
export function kataRsDisk(path: string): object {
  return {
    path,
    readonly: true,
    direct: false,
    iommu: false,
    num_queues: 1,
    queue_size: 128,
    vhost_user: false,
    vhost_socket: null,
    rate_limiter_config: null,
    id: null,
    disable_io_uring: false,
    pci_segment: 0,
    sparse: true,
    image_type: 'Raw',
  };
}

/** vm.create as runtime-rs sends it. */
export function kataRs({ image, fs, vsock }: Sandbox): unknown {
  return {
    // the kernel logs each device that it finds; no test logs in there
    payload: {
      firmware: null,
      kernel: KERNEL,
      cmdline: `${CMDLINE} ignore_loglevel`,
      initramfs: INITRAMFS,
      mrconfigid: null,
      host_data: null,
    },
    platform: {
      num_pci_segments: 1,
      iommu_segments: null,
      serial_number: null,
      uuid: null,
      oem_strings: null,
      tdx: false,
    },
    cpus: {
      boot_vcpus: 1,
      max_vcpus: 2,
      topology: { threads_per_core: 1, cores_per_die: 2, dies_per_package: 1, packages: 1 },
      kvm_hyperv: false,
      nested: true,
      max_phys_bits: 46,
      features: { amx: false },
    },
    memory: {
      size: 512 * MIB,
      mergeable: false,
      hotplug_method: 'Acpi',
      hotplug_size: 512 * MIB,
      shared: true,
      hugepages: false,
      prefault: false,
    },
    balloon: { size: 0, deflate_on_oom: false, free_page_reporting: true },
    disks: [kataRsDisk(image)],
    rng: { src: '/dev/urandom', iommu: false },
    fs: [{ tag: 'kataShared', socket: fs, num_queues: 1, queue_size: 1024, id: null, pci_segment: 0 }],
    serial: { file: null, mode: 'Tty', iommu: false },
    console: NO_CONSOLE,
    devices: [],
    vsock: { cid: 3, socket: vsock, iommu: false, id: null, pci_segment: 0 },
    iommu: false,
    watchdog: false,
  };
}
