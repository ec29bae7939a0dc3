// The command lines of Cloud Hypervisor's own tests, rewritten: the configuration of each, or the reason
// why there is none.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DecodedVmConfig } from '../config/decode-vm-config.ts';
import { decodeVmConfig } from '../config/decode-vm-config.ts';
import { encodeVmConfig } from '../config/vm-config.ts';
import { readDaemonOptions } from './daemon-options.ts';
import { UsageError } from './flags.ts';

const MIB = 2 ** 20;
const GIB = 2 ** 30;
const KERNEL = '/boot/vmlinux';

/** Reads a command line whose values hold no blanks. */
function read(line: string): DecodedVmConfig {
  const { vm } = readDaemonOptions(['--kernel', KERNEL, ...line.split(' ').filter((word) => word !== '')]);
  assert.ok(vm !== undefined, line);
  return vm;
}

function refusalOf(line: string): string {
  try {
    read(line);
  } catch (error) {
    assert.ok(error instanceof UsageError, line);
    return error.message;
  }
  throw new Error(`was accepted: ${line}`);
}

const vcpus = (boot: number, max = boot) => ({ boot_vcpus: boot, max_vcpus: max });
const SHARED = { size: 512 * MIB, shared: true };
const MACS = 'mac=02:00:00:00:00:0a,host_mac=02:00:00:00:00:0b';
const CARD = { mac: '02:00:00:00:00:0a', host_mac: '02:00:00:00:00:0b' };
const BUCKET = { size: 500, one_time_burst: 0, refill_time: 50 };

type Lines = readonly [line: string, json: object][];

/** A command line without `--kernel`, and what vm.create would be sent. */
const CPUS_AND_MEMORY: Lines = [
  ['', {}],
  ['--cpus boot=1', { cpus: vcpus(1) }],
  ['--cpus boot=2,max=6', { cpus: vcpus(2, 6) }],
  [
    '--cpus boot=12,topology=2:3:1:2',
    {
      cpus: {
        ...vcpus(12),
        topology: { threads_per_core: 2, cores_per_die: 3, dies_per_package: 1, packages: 2 },
      },
    },
  ],
  ['--cpus boot=1,kvm_hyperv=on', { cpus: { ...vcpus(1), kvm_hyperv: true } }],
  [
    '--cpus boot=2,affinity=[0@[1,3],1@[0,2]]',
    {
      cpus: {
        ...vcpus(2),
        affinity: [
          { vcpu: 0, host_cpus: [1, 3] },
          { vcpu: 1, host_cpus: [0, 2] },
        ],
      },
    },
  ],
  ['--cpus boot=1,core_scheduling=vm', { cpus: vcpus(1) }],
  ['--cpus boot=1,core_scheduling=vcpu', { cpus: vcpus(1) }],
  ['--cpus boot=1,core_scheduling=off', { cpus: vcpus(1) }],
  ['--memory size=2147483648', { memory: { size: 2 * GIB } }],
  ['--memory size=2G', { memory: { size: 2 * GIB } }],
  ['--memory size=512M', {}],
  ['--memory mergeable=on', { memory: { size: 512 * MIB, mergeable: true } }],
  ['--memory size=2G,mergeable=off', { memory: { size: 2 * GIB, mergeable: false } }],
  ['--memory hotplug_method=acpi', { memory: { size: 512 * MIB, hotplug_method: 'Acpi' } }],
  ['--memory hotplug_size=1G', { memory: { size: 512 * MIB, hotplug_size: GIB } }],
  [
    '--memory hotplug_method=virtio-mem,hotplug_size=1G',
    { memory: { size: 512 * MIB, hotplug_method: 'VirtioMem', hotplug_size: GIB } },
  ],
  [
    '--memory size=2G,hugepages=on,hugepage_size=2M,reserve=on',
    { memory: { size: 2 * GIB, hugepages: true, hugepage_size: 2 * MIB, reserve: true } },
  ],
  [
    '--memory size=0 --memory-zone id=low,size=1G id=high,size=2G,mergeable=on,reserve=on',
    {
      memory: {
        size: 0,
        zones: [
          { id: 'low', size: GIB, mergeable: false },
          { id: 'high', size: 2 * GIB, mergeable: true, reserve: true },
        ],
      },
    },
  ],
  [
    '--cpus boot=12 --memory size=0 --memory-zone id=low,size=1G id=high,size=1G --numa guest_numa_id=0,cpus=[0-2,9],distances=[1@15],memory_zones=[low],pci_segments=[0] guest_numa_id=1,cpus=[3-4,6-8],distances=[0@20],memory_zones=high',
    {
      cpus: vcpus(12),
      memory: {
        size: 0,
        zones: [
          { id: 'low', size: GIB },
          { id: 'high', size: GIB },
        ],
      },
      numa: [
        {
          guest_numa_id: 0,
          cpus: [0, 1, 2, 9],
          distances: [{ destination: 1, distance: 15 }],
          memory_zones: ['low'],
          pci_segments: [0],
        },
        {
          guest_numa_id: 1,
          cpus: [3, 4, 6, 7, 8],
          distances: [{ destination: 0, distance: 20 }],
          memory_zones: ['high'],
        },
      ],
    },
  ],
];

const DISKS: Lines = [
  [
    '--disk path=/a.raw,image_type=raw path=/b.img',
    { disks: [{ path: '/a.raw', image_type: 'Raw' }, { path: '/b.img' }] },
  ],
  [
    '--disk path=/a.img,image_type=qcow2,id=root,direct=on',
    { disks: [{ path: '/a.img', image_type: 'Qcow2', id: 'root', direct: true }] },
  ],
  [
    '--memory shared=true --disk vhost_user=true,socket=/back.sock',
    { memory: SHARED, disks: [{ vhost_user: true, vhost_socket: '/back.sock' }] },
  ],
  ['--disk path=/a,iommu=on', { iommu: true, disks: [{ path: '/a', iommu: true }] }],
  [
    '--cpus boot=4 --disk path=/a,queue_size=256,num_queues=4,queue_affinity=[0@[1],1@[2],2@[3,4],3@[5-8]]',
    {
      cpus: vcpus(4),
      disks: [
        {
          path: '/a',
          queue_size: 256,
          num_queues: 4,
          queue_affinity: [
            { queue_index: 0, host_cpus: [1] },
            { queue_index: 1, host_cpus: [2] },
            { queue_index: 2, host_cpus: [3, 4] },
            { queue_index: 3, host_cpus: [5, 6, 7, 8] },
          ],
        },
      ],
    },
  ],
  [
    '--disk path=/a,serial=S-1,lock_granularity=full path=/b,serial=,lock_granularity=byte-range',
    {
      disks: [
        { path: '/a', serial: 'S-1', lock_granularity: 'Full' },
        { path: '/b', lock_granularity: 'ByteRange' },
      ],
    },
  ],
  ['--disk path=/a,pci_device_id=8', { disks: [{ path: '/a', pci_device_id: 8 }] }],
  [
    '--rate-limit-group id=bytes,bw_size=500,bw_refill_time=50 id=ops,ops_size=500,ops_refill_time=50 --disk path=/a,rate_limit_group=bytes path=/b,rate_limit_group=ops',
    {
      rate_limit_groups: [
        { id: 'bytes', rate_limiter_config: { bandwidth: BUCKET } },
        { id: 'ops', rate_limiter_config: { ops: BUCKET } },
      ],
      disks: [
        { path: '/a', rate_limit_group: 'bytes' },
        { path: '/b', rate_limit_group: 'ops' },
      ],
    },
  ],
  [
    '--pmem file=/a,size=1G,id=first file=/b,size=128M,discard_writes=on',
    {
      pmem: [
        { file: '/a', size: GIB, id: 'first' },
        { file: '/b', size: 128 * MIB, discard_writes: true },
      ],
    },
  ],
  ['--pmem file=/a,iommu=on', { iommu: true, pmem: [{ file: '/a', iommu: true }] }],
];

const NETWORKS: Lines = [
  [`--net ${MACS},id=lan`, { net: [{ ...CARD, id: 'lan' }] }],
  [
    `--net ${MACS},tap=t0,ip=10.1.2.3,mask=255.255.255.128`,
    { net: [{ ...CARD, tap: 't0', ip: '10.1.2.3', mask: '255.255.255.128' }] },
  ],
  [
    `--cpus boot=2 --net ${MACS},num_queues=4,queue_size=1024`,
    { cpus: vcpus(2), net: [{ ...CARD, num_queues: 4, queue_size: 1024 }] },
  ],
  [`--net ${MACS},num_queues=2,queue_size=256,iommu=off`, { net: [CARD] }],
  [`--net ${MACS},iommu=on`, { iommu: true, net: [{ ...CARD, iommu: true }] }],
  [
    `--memory shared=true --net ${MACS},vhost_user=true,socket=/back.sock`,
    { memory: SHARED, net: [{ ...CARD, vhost_user: true, vhost_socket: '/back.sock' }] },
  ],
  [
    '--cpus boot=2 --net mac=02:00:00:00:00:0a,fd=[3,7],num_queues=4',
    { cpus: vcpus(2), net: [{ mac: CARD.mac, fds: [3, 7], num_queues: 4 }] },
  ],
  ['--vsock cid=40,socket=/v.sock,iommu=off', { vsock: { cid: 40, socket: '/v.sock' } }],
  [
    '--vsock cid=40,socket=/v.sock,iommu=on',
    { iommu: true, vsock: { cid: 40, socket: '/v.sock', iommu: true } },
  ],
];

const FURTHER: Lines = [
  ['--rng src=/dev/random', { rng: { src: '/dev/random' } }],
  [
    '--rng src=/dev/random,iommu=on,pci_segment=1,pci_device_id=7',
    { iommu: true, rng: { src: '/dev/random', iommu: true, pci_device_id: 7 } },
  ],
  ['--rng iommu=on', { iommu: true, rng: { src: '/dev/urandom', iommu: true } }],
  [
    '--balloon size=128M,deflate_on_oom=on,free_page_reporting=on,pci_segment=1,pci_device_id=7',
    { balloon: { size: 128 * MIB, deflate_on_oom: true, free_page_reporting: true, pci_device_id: 7 } },
  ],
  ['--balloon size=0,iommu=on', { balloon: { size: 0 } }],
  ['--ivshmem path=/m,size=2M,pci_device_id=7', { ivshmem: { path: '/m', size: 2 * MIB, pci_device_id: 7 } }],
  [
    '--memory shared=true --cpus boot=4 --fs tag=a,socket=/a.sock tag=b,socket=/b.sock,num_queues=4,queue_size=128',
    {
      memory: SHARED,
      cpus: vcpus(4),
      fs: [
        { tag: 'a', socket: '/a.sock' },
        { tag: 'b', socket: '/b.sock', num_queues: 4, queue_size: 128 },
      ],
    },
  ],
  // no shared=on
  [
    '--fs tag=a,directory=/a tag=b,directory="/b,é=",readonly=on,cache=Always,uid_map=0:1000:1,gid_map=0:100:65536,xattr=off',
    {
      fs: [
        { tag: 'a', directory: '/a' },
        {
          ...{ tag: 'b', directory: '/b,é=', readonly: true, cache: 'always' },
          ...{ uid_map: '0:1000:1', gid_map: '0:100:65536', xattr: false },
        },
      ],
    },
  ],
  [
    '--console off --debug-console tty,iobase=0xe9',
    { console: { mode: 'Off' }, debug_console: { mode: 'Tty', iobase: 0xe9 } },
  ],
  [
    '--serial null --console tty,pci_segment=0,pci_device_id=7',
    { serial: { mode: 'Null' }, console: { mode: 'Tty', pci_device_id: 7 } },
  ],
  ['--serial tty --console off', { serial: { mode: 'Tty' }, console: { mode: 'Off' } }],
  ['--serial pty --console pty', { serial: { mode: 'Pty' }, console: { mode: 'Pty' } }],
  ['--console null,iommu=on', { iommu: true, console: { mode: 'Null', iommu: true } }],
  ['--console file=/c,iommu=on', { iommu: true, console: { mode: 'File', file: '/c', iommu: true } }],
  ['--console socket=/c,iommu=on', { iommu: true, console: { mode: 'Socket', socket: '/c', iommu: true } }],
  [
    '--device path=/d/1,x_exclude_mmap_bars=[0,2,5] path=/d/2,id=card,iommu=off,x_nv_gpudirect_clique=0',
    { devices: [{ path: '/d/1' }, { path: '/d/2', id: 'card', x_nv_gpudirect_clique: 0 }] },
  ],
  ['--device path=/d/1,iommu=on', { iommu: true, devices: [{ path: '/d/1', iommu: true }] }],
  [
    '--device path=/d/1,id=card --numa guest_numa_id=0,cpus=[0] guest_numa_id=1,device_id=card,distances=[0@30]',
    {
      devices: [{ path: '/d/1', id: 'card' }],
      numa: [
        { guest_numa_id: 0, cpus: [0] },
        { guest_numa_id: 1, distances: [{ destination: 0, distance: 30 }] },
      ],
    },
  ],
  ['--tpm socket=/t.sock', { tpm: { socket: '/t.sock' } }],
  ['--platform iommufd=on,iommufd_fd=42,vfio_p2p_dma=off', { platform: {} }],
  [
    '--platform num_pci_segments=96,iommu_segments=[1-3] --disk path=/a,pci_segment=1,iommu=on --pci-segment pci_segment=1,mmio32_aperture_weight=2 pci_segment=2,mmio64_aperture_weight=3',
    {
      iommu: true,
      platform: { num_pci_segments: 96, iommu_segments: [1, 2, 3] },
      disks: [{ path: '/a', pci_segment: 1, iommu: true }],
      pci_segments: [
        { pci_segment: 1, mmio32_aperture_weight: 2 },
        { pci_segment: 2, mmio64_aperture_weight: 3 },
      ],
    },
  ],
  [
    '--landlock --landlock-rules path=/a,access=rw',
    { landlock_enable: true, landlock_rules: [{ path: '/a', access: 'rw' }] },
  ],
  ['--watchdog --pvpanic', { watchdog: true, pvpanic: true }],
  ['--rtc --log-format {level}', {}],
  ['--rtc iommu=on', {}],
];

test('a command line and the JSON of vm.create mean the same VM', () => {
  for (const [line, json] of [...CPUS_AND_MEMORY, ...DISKS, ...NETWORKS, ...FURTHER]) {
    const { config } = read(line);
    // words that came after the contract have the form of their time
    const form =
      config.payload === undefined ? { kernel: { path: KERNEL } } : { payload: { kernel: KERNEL } };
    const expected = decodeVmConfig({ ...form, ...json }).config;
    assert.deepEqual(encodeVmConfig(config), encodeVmConfig(expected), line);
  }
});

test('fw_cfg_config: files and texts, several behind a colon', () => {
  const { payload } = read(
    '--fw-cfg-config initramfs=off,items=[name=opt/a/file,file=/f:name=opt/a/text,string=9]',
  ).config;
  assert.equal(payload?.fw_cfg_config?.initramfs, false);
  const items = payload?.fw_cfg_config?.items?.item_list.map(({ name, file, string }) => [
    name,
    file,
    string,
  ]);
  assert.deepEqual(items, [
    ['opt/a/file', '/f', undefined],
    ['opt/a/text', undefined, '9'],
  ]);
});

/** A command line, and a part of what is said about it. */
const REFUSED: readonly [line: string, reason: string][] = [
  ['--cpus boot=8,topology=2:2:2', 'unable to parse 2:2:2 for topology'],
  ['--cpus boot=8,topology=2:2:1:x', 'unable to parse 2:2:1:x for topology'],
  ['--cpus boot=32,max=16', 'Max CPUs greater than boot CPUs'],
  ['--cpus boot=16,topology=2:8:1:2', 'Product of CPU topology parts'],
  ['--cpus boot=1,topology=1:1:1:0', 'No part of the CPU topology can be zero'],
  ['--numa guest_numa_id=0,cpus=[5-3]', 'unable to parse [5-3] for cpus'],
  ['--numa guest_numa_id=0,cpus=[5-5]', 'unable to parse [5-5] for cpus'],
  ['--numa guest_numa_id=0,cpus=[1-2-3]', 'unable to parse [1-2-3] for cpus'],
  ['--memory size=1G --memory-zone id=low,size=1G', 'memory.size must be 0 when zones are given'],
  ['--memory hugepage_size=2M', 'memory.hugepage_size: Huge page size specified but huge pages not enabled'],
  ['--memory hugepages=on,hugepage_size=3M', 'memory.hugepage_size: Huge page size is not power of 2'],
  ['--memory size=0 --memory-zone id=low,size=1G,hugepage_size=2M', 'zones[0].hugepage_size: Huge page size'],
  [
    '--memory size=0 --memory-zone id=low,size=1G,hugepages=on,hugepage_size=0',
    'zones[0].hugepage_size: Huge page size is not power of 2: 0',
  ],
  ['--memory size=0 --memory-zone id=low,size=1G,hotplug_size=1G', 'needs memory.hotplug_method'],
  ['--disk path=/a,vhost_user=off,socket=/s', 'Disk path and vhost socket both provided'],
  ['--memory shared=on --disk vhost_user=on', 'No socket provided when using vhost-user'],
  ['--disk vhost_user=on,socket=/s', 'Using vhost-user requires using shared memory'],
  ['--disk path=/a,queue_size=100', 'queue_size: must be a power of two'],
  ['--disk path=/a,queue_size=2', 'queue_size: must be a power of two from 4'],
  ['--disk path=/a,rate_limit_group=none', 'there is no rate limit group "none"'],
  [`--disk path=/a,serial=${'s'.repeat(21)}`, 'serial: longer than 20 bytes'],
  ['--disk path=/a,id=__rng', 'disks[0].id: "__rng" is reserved'],
  ['--disk path=/a,id=same --pmem file=/b,id=same', '"same" is taken'],
  ['--disk path=/a,queue_affinity=[0@[1],0@[2]]', 'queue 0 is in disks[0].queue_affinity[0] already'],
  [
    '--memory shared=on --disk vhost_user=on,socket=/s,bw_size=1,bw_refill_time=1',
    'disks[0].rate_limiter_config: has no effect with vhost_user',
  ],
  [
    '--memory shared=on --rate-limit-group id=g,bw_size=1,bw_refill_time=1 --disk vhost_user=on,socket=/s,rate_limit_group=g',
    'disks[0].rate_limit_group: has no effect with vhost_user',
  ],
  ['--net queue_size=100', 'queue_size: must be 256, 512 or 1024'],
  ['--net vhost_user=on,socket=/s', 'Using vhost-user requires using shared memory'],
  ['--memory shared=on --net vhost_user=on', 'No socket provided when using vhost-user'],
  [
    '--memory shared=on --net vhost_user=on,socket=/s,ops_size=1,ops_refill_time=1',
    'net[0].rate_limiter_config: has no effect with vhost_user',
  ],
  ['--net fd=0', 'Reserved fd number (<= 2)'],
  ['--fs tag=t,socket=/s', 'Using vhost-user requires using shared memory'],
  ['--memory shared=on --fs tag=t', 'Error parsing --fs: socket missing'],
  ['--memory shared=on --fs socket=/s', 'Error parsing --fs: tag missing'],
  ['--fs directory=/d', 'Error parsing --fs: tag missing'],
  ['--fs tag=t,directory=/d,socket=/s', 'fs[0]: socket and directory are both given'],
  ['--fs tag=t,directory=', 'Error parsing --fs: socket missing'],
  ['--fs tag=t,directory=/d,cache=alway', 'Error parsing --fs: unable to parse alway for cache'],
  ['--fs tag=t,directory=/d,uid_map=0:1', 'Error parsing --fs: unable to parse 0:1 for uid_map'],
  ['--memory shared=on --fs tag=t,socket=/s,readonly=off', 'fs[0].readonly: needs directory'],
  ['--pmem size=128M', 'Error parsing --pmem: file missing'],
  ['--serial file=', 'Path missing when using file console mode'],
  ['--console badmode', 'unknown option: badmode'],
  ['--vsock cid=2,socket=/s', 'vsock.cid'],
  ['--vsock cid=4294967295,socket=/s', 'vsock.cid: larger than'],
  ['--vsock socket=/s', 'cid missing'],
  ['--balloon size=512M', 'balloon.size: must be less than the RAM'],
  ['--device path=/d path=/d', 'devices[1].path: /d is passed through as devices[0] already'],
  ['--device iommu=on', 'path missing'],
  ['--tpm', 'requires a value'],
  ['--platform num_pci_segments=97', 'platform.num_pci_segments: must be 1 to 96, got 97'],
  ['--platform num_pci_segments=0', 'platform.num_pci_segments'],
  [
    '--platform num_pci_segments=2,iommu_segments=[2]',
    'platform.iommu_segments[0]: there is no PCI segment 2',
  ],
  ['--platform iommu_segments=[65536]', 'platform.iommu_segments[0]'],
  ['--pci-segment pci_segment=0,mmio32_aperture_weight=0', 'pci_segments[0].mmio32_aperture_weight'],
  ['--pci-segment pci_segment=0,mmio64_aperture_weight=0', 'pci_segments[0].mmio64_aperture_weight'],
  ['--cpus boot=2 --numa guest_numa_id=0,cpus=0 guest_numa_id=1,cpus=1,pci_segments=[1]', 'no PCI segment 1'],
  [
    '--cpus boot=2 --numa guest_numa_id=0,cpus=0 guest_numa_id=1,cpus=1,pci_segments=[0]',
    'numa[1].pci_segments[0]: PCI segment 0 belongs to NUMA node 0',
  ],
  [
    '--platform num_pci_segments=2 --cpus boot=2 --numa guest_numa_id=0,cpus=0,pci_segments=[1] guest_numa_id=1,cpus=1,pci_segments=[1]',
    'numa[1].pci_segments[0]: 1 is listed in numa[0].pci_segments[0] already',
  ],
  ['--landlock-rules path=/a', 'access missing'],
  ['--landlock-rules path=/a,access=rwr', 'access: must be r, w or rw'],
  ['--fw-cfg-config items=[]', 'unable to parse [] for items'],
  ['--fw-cfg-config items=[name=opt/a', 'Error parsing --fw-cfg-config'],
  ['--fw-cfg-config items=[name=opt/a]', 'exactly one of file and string is required'],
  ['--fw-cfg-config items=[name=opt/a,file=/f,string=s]', 'exactly one of file and string is required'],
  ['--vdpa path=/d', 'vdpa'],
  ['--user-device socket=/s', 'user_devices'],
  ['--generic-vhost-user device_type=26,socket=/s,queue_sizes=[64]', 'generic_vhost_user'],
];

test('a command line that makes no VM is refused with the reason', () => {
  for (const [line, reason] of REFUSED) {
    const said = refusalOf(line);
    assert.ok(said.includes(reason), `${line}: ${said}`);
  }
});

test('a device on a segment of the virtual IOMMU must be behind it', () => {
  const segments = '--memory shared=on --platform num_pci_segments=4,iommu_segments=[1,2,3]';
  const devices: readonly [line: string, place: string][] = [
    ['--disk path=/a,pci_segment=1', 'disks[0]'],
    ['--net pci_segment=1', 'net[0]'],
    ['--pmem file=/a,pci_segment=1', 'pmem[0]'],
    ['--device path=/d,pci_segment=1', 'devices[0]'],
    ['--vsock cid=3,socket=/s,pci_segment=1', 'vsock'],
  ];
  for (const [line, place] of devices) {
    const said = refusalOf(`${segments} ${line}`);
    assert.ok(said.includes(`${place}: PCI segment 1 is behind the virtual IOMMU`), said);
    read(`${segments} ${line},iommu=on`);
    read(`${segments} ${line.replace('pci_segment=1', 'pci_segment=0')}`);
  }
  const fs = refusalOf(`${segments} --fs tag=t,socket=/s,pci_segment=1`);
  assert.ok(fs.includes('fs[0]: PCI segment 1 is behind the virtual IOMMU'), fs);
});

test('a restore is read from its option string, with warnings of members without effect', () => {
  const url = 'source_url=file:///snapshot';
  const restore = (text: string) => readDaemonOptions(['--restore', text]).restore;
  assert.deepEqual(restore(url)?.request, {
    source_url: 'file:///snapshot',
    prefault: false,
    resume: false,
    net_fds: undefined,
    overrides: undefined,
  });
  const full = restore(`${url},prefault=on,resume=on,net_fds=[a@[3,4],b@[5,6,7,8]]`)?.request;
  assert.equal(full?.prefault, true);
  assert.equal(full.resume, true);
  assert.deepEqual(full.net_fds, [
    { id: 'a', num_fds: 2, fds: [3, 4] },
    { id: 'b', num_fds: 4, fds: [5, 6, 7, 8] },
  ]);
  const ignored = `${url},memory_restore_mode=ondemand,zone_updates=[z@1],vfio_fds=[v@5],iommufd_fd=7`;
  assert.deepEqual(restore(ignored)?.warnings.toSorted(), [
    '--restore: iommufd_fd is ignored',
    '--restore: memory_restore_mode is ignored',
    '--restore: vfio_fds is ignored',
    '--restore: zone_updates is ignored',
  ]);
  assert.throws(() => restore('prefault=off'), /source_url missing/);
});

test('a restore is read from the JSON of its request, with overrides', () => {
  const restore = (text: string) => readDaemonOptions(['--restore', text]).restore;
  const console = { socket: '/a,b.sock' };
  const text = JSON.stringify({ source_url: 'file:///s', resume: true, overrides: { console } });
  assert.deepEqual(restore(text)?.request.overrides?.console, { file: undefined, ...console });
  assert.equal(restore(text)?.request.resume, true);
  assert.throws(() => restore('{"source_url":'), /Error parsing --restore: .*JSON/);
  assert.throws(() => restore('{"source_url":1}'), /Error parsing --restore: .*source_url/);
});

test('flags of later releases change nothing, and are named', () => {
  const { ignoredFlags } = readDaemonOptions(['--rtc', 'iommu=on', '--log-format', '{level}']);
  assert.deepEqual(ignoredFlags, ['log-format', 'rtc']);
  assert.equal(readDaemonOptions(['--seccomp', 'errno']).seccomp, 'errno');
});
