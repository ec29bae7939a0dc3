import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DiskConfig } from '../devices/disk/config.ts';
import { decode } from '../schema/decode.ts';
import { ConfigError } from './errors.ts';
import { parseFlag, parseVmConfig, vmConfigJson, type FlagTexts } from './from-words.ts';
import { encodeVmConfig, VmConfig } from './vm-config.ts';

const fault = (flags: FlagTexts, parse: (flags: FlagTexts) => unknown = vmConfigJson): string => {
  try {
    parse(flags);
  } catch (error) {
    assert.ok(error instanceof ConfigError);
    return error.message;
  }
  throw new Error(`was accepted: ${JSON.stringify(flags)}`);
};

/** Flags and the JSON that means the same. */
const SAME: [FlagTexts, object][] = [
  [{ cpus: ['boot=1,max=3'] }, { cpus: { boot_vcpus: 1, max_vcpus: 3 } }],
  [
    { memory: ['size=1G,mergeable=on,shared=on'] },
    { memory: { size: 1_073_741_824, mergeable: true, shared: true } },
  ],
  [
    { memory: ['size=1G,hotplug_method=virtio-mem,hotplug_size=1G'] },
    { memory: { size: 1_073_741_824, hotplug_method: 'VirtioMem', hotplug_size: 1_073_741_824 } },
  ],
  [{ cmdline: ['arg1=foo arg2=bar'] }, { cmdline: { args: 'arg1=foo arg2=bar' } }],
  [
    { disk: ['path=/a', 'path=/b,iommu=on'] },
    { disks: [{ path: '/a' }, { path: '/b', iommu: true }], iommu: true },
  ],
  [
    { net: ['mac=12:34:56:78:90:ab,tap=tap0,ip=1.2.3.4,mask=5.6.7.8,num_queues=4,queue_size=128'] },
    {
      net: [
        {
          mac: '12:34:56:78:90:ab',
          tap: 'tap0',
          ip: '1.2.3.4',
          mask: '5.6.7.8',
          num_queues: 4,
          queue_size: 128,
        },
      ],
    },
  ],
  [
    { net: ['mac=12:34:56:78:90:ab,fd=3:7,num_queues=4'] },
    { net: [{ mac: '12:34:56:78:90:ab', fds: [3, 7], num_queues: 4 }] },
  ],
  [{ rng: ['src=/p,iommu=on'] }, { rng: { src: '/p', iommu: true }, iommu: true }],
  [
    { fs: ['tag=t,socket=/s'], memory: ['shared=true'] },
    { fs: [{ tag: 't', socket: '/s' }], memory: { shared: true, size: 536_870_912 } },
  ],
  [
    { pmem: ['file=/f,size=128M,iommu=on,mergeable=on'] },
    { pmem: [{ file: '/f', size: 134_217_728, iommu: true, mergeable: true }], iommu: true },
  ],
  [{ serial: ['null'], console: ['tty'] }, {}],
  [
    { serial: ['tty'], console: ['off'] },
    { serial: { mode: 'Tty' }, console: { mode: 'Off' } },
  ],
  [
    { serial: ['file=/f'], console: ['off'] },
    { serial: { mode: 'File', file: '/f' }, console: { mode: 'Off' } },
  ],
  [
    { serial: ['socket="/s, ü"'], console: ['off,socket=/lost'] },
    { serial: { mode: 'Socket', socket: '/s, ü' }, console: { mode: 'Off' } },
  ],
  [
    { device: ['path=/sys/d', 'path=/sys/e,iommu=on'] },
    { devices: [{ path: '/sys/d' }, { path: '/sys/e', iommu: true }], iommu: true },
  ],
  [
    { vsock: ['cid=123,socket=/s,iommu=on'] },
    { vsock: { cid: 123, socket: '/s', iommu: true }, iommu: true },
  ],
  // words of current versions
  [
    { cpus: ['boot=2,affinity=[0@[0,2-3],1@[1]],nested=off,features=amx'] },
    {
      cpus: {
        boot_vcpus: 2,
        max_vcpus: 2,
        affinity: [
          { vcpu: 0, host_cpus: [0, 2, 3] },
          { vcpu: 1, host_cpus: [1] },
        ],
        nested: false,
        features: { amx: true },
      },
    },
  ],
  [
    { memory: ['size=0'], 'memory-zone': ['id=a,size=1G,prefault=on,thp=off,reserve=on,mergeable=on'] },
    {
      memory: {
        size: 0,
        zones: [{ id: 'a', size: 2 ** 30, prefault: true, thp: false, reserve: true, mergeable: true }],
      },
    },
  ],
  [{ memory: ['size=1G,prefault=on,thp=off'] }, { memory: { size: 2 ** 30, prefault: true, thp: false } }],
  [{ balloon: ['free_page_reporting=on,size=0M'] }, { balloon: { size: 0, free_page_reporting: true } }],
  [
    {
      cpus: ['boot=2'],
      disk: [
        'path=/a,num_queues=2,queue_affinity=[0@[1],1@[0,2]],pci_segment=0,sparse=off,lock_granularity=byte-range',
        'path=/b,image_type=vhd,_disable_aio=on,disable_io_uring=on',
      ],
    },
    {
      cpus: { boot_vcpus: 2, max_vcpus: 2 },
      disks: [
        {
          path: '/a',
          num_queues: 2,
          affinity: [
            { queue_index: 0, host_cpus: [1] },
            { queue_index: 1, host_cpus: [0, 2] },
          ],
          pci_segment: 0,
          sparse: false,
          lock_granularity: 'ByteRange',
        },
        { path: '/b', image_type: 'FixedVhd', disable_aio: true, disable_io_uring: true },
      ],
    },
  ],
  [
    { net: ['user,offload_tso=off,offload_ufo=on,offload_csum=off,pci_segment=0'] },
    {
      net: [{ backend: 'user', offload_tso: false, offload_ufo: true, offload_csum: false, pci_segment: 0 }],
    },
  ],
  [
    {
      memory: ['size=0,shared=on'],
      'memory-zone': ['id=a', 'id=b'],
      numa: [
        'guest_numa_id=0,cpus=[0],memory_zones=[a],distances=[1@15],pci_segments=[0]',
        'guest_numa_id=1,memory_zones=[b]',
      ],
    },
    {
      memory: {
        size: 0,
        shared: true,
        zones: ['a', 'b'].map((id) => ({ id, size: 512 * 2 ** 20 })),
      },
      numa: [
        {
          guest_numa_id: 0,
          cpus: [0],
          memory_zones: ['a'],
          distances: [{ destination: 1, distance: 15 }],
          pci_segments: [0],
        },
        { guest_numa_id: 1, memory_zones: ['b'] },
      ],
    },
  ],
  [
    {
      platform: ['num_pci_segments=2,iommu_segments=[0-1]'],
      'pci-segment': ['pci_segment=1,mmio32_aperture_weight=4'],
    },
    {
      platform: { num_pci_segments: 2, iommu_segments: [0, 1] },
      pci_segments: [{ pci_segment: 1, mmio32_aperture_weight: 4 }],
    },
  ],
  [
    {
      device: ['path=/sys/d,x_nv_gpudirect_clique=2,pci_segment=0'],
      tpm: ['socket=/t'],
      ivshmem: ['path=/m,size=4M'],
    },
    {
      devices: [{ path: '/sys/d', x_nv_gpudirect_clique: 2, pci_segment: 0 }],
      tpm: { socket: '/t' },
      ivshmem: { path: '/m', size: 4_194_304 },
    },
  ],
  [
    { landlock: [], 'landlock-rules': ['path=/a,access=r', 'path=/b,access=rw'] },
    {
      landlock_enable: true,
      landlock_rules: [
        { path: '/a', access: 'r' },
        { path: '/b', access: 'rw' },
      ],
    },
  ],
  // further ones
  [{}, {}],
  [
    { cpus: ['boot=24,topology=2:6:1:2,kvm_hyperv=on,max_phys_bits=36'] },
    {
      cpus: {
        boot_vcpus: 24,
        max_vcpus: 24,
        topology: { threads_per_core: 2, cores_per_die: 6, dies_per_package: 1, packages: 2 },
        kvm_hyperv: true,
        max_phys_bits: 36,
      },
    },
  ],
  [{ memory: ['size=1G,file=/dev/shm'] }, { memory: { size: 1_073_741_824 } }],
  [
    {
      memory: ['size=0,hotplug_method=virtio-mem'],
      'memory-zone': ['id=mem0,size=1G,hotplug_size=2G', 'id=mem1,file=/dev/shm,host_numa_node=0'],
    },
    {
      memory: {
        size: 0,
        hotplug_method: 'VirtioMem',
        zones: [
          { id: 'mem0', size: 1_073_741_824, hotplug_size: 2_147_483_648 },
          { id: 'mem1', size: 536_870_912, file: '/dev/shm', host_numa_node: 0 },
        ],
      },
    },
  ],
  [{ 'memory-zone': ['id=z'] }, { memory: { size: 536_870_912, zones: [{ id: 'z', size: 536_870_912 }] } }],
  [
    { disk: ['vhost_user=true,socket=/s,num_queues=2,queue_size=128,_disable_io_uring=true'] },
    {
      disks: [
        { vhost_user: true, vhost_socket: '/s', num_queues: 2, queue_size: 128, disable_io_uring: true },
      ],
    },
  ],
  [{ net: [''] }, { net: [{}] }],
  [
    { net: ['tap=,vhost_mode=SERVER,socket=/s,host_mac=12:34:56:78:90:AB'] },
    { net: [{ vhost_mode: 'Server', vhost_socket: '/s', host_mac: '12:34:56:78:90:ab' }] },
  ],
  [
    { disk: ['path=/a,bw_size=10,bw_refill_time=100,ops_size=5,ops_refill_time=0'] },
    {
      disks: [
        {
          path: '/a',
          rate_limiter_config: { bandwidth: { size: 10, one_time_burst: 0, refill_time: 100 } },
        },
      ],
    },
  ],
  [{ disk: ['path=/a,bw_one_time_burst=3'] }, { disks: [{ path: '/a' }] }],
  [{ balloon: ['deflate_on_oom=on'] }, { balloon: { size: 0, deflate_on_oom: true } }],
  [
    { 'sgx-epc': ['id=epc0,size=64M', 'id=epc1,prefault=on'] },
    {
      sgx_epc: [
        { id: 'epc0', size: 67_108_864 },
        { id: 'epc1', size: 0, prefault: true },
      ],
    },
  ],
  [
    { numa: ['guest_numa_id=0,cpus=0-2:9,distances=1@15:2@20,memory_zones=a:b,sgx_epc_sections=e'] },
    {
      numa: [
        {
          guest_numa_id: 0,
          cpus: [0, 1, 2, 9],
          distances: [
            { destination: 1, distance: 15 },
            { destination: 2, distance: 20 },
          ],
          memory_zones: ['a', 'b'],
          sgx_epc_sections: ['e'],
        },
      ],
    },
  ],
  [{ watchdog: [] }, { watchdog: true }],
  [{ pvpanic: [] }, { pvpanic: true }],
  [{ initramfs: ['/i,=x'] }, { initramfs: { path: '/i,=x' } }],
  [
    { fs: ['tag=t,socket=/s,dax=on,cache_size=1G'] },
    { fs: [{ tag: 't', socket: '/s', cache_size: 2 ** 30 }] },
  ],
  [{ console: ['pty,iommu=on'] }, { console: { mode: 'Pty', iommu: true }, iommu: true }],
  // the serial port is behind nothing
  [{ serial: ['pty,iommu=on'] }, { serial: { mode: 'Pty', iommu: true } }],
];

const consoleOf = (text: string): unknown => vmConfigJson({ console: [text] }).json['console'];

test('flags and JSON mean the same VM', () => {
  for (const [flags, json] of SAME) {
    const words = vmConfigJson({ kernel: ['/k'], ...flags }).json;
    const expected = decode(VmConfig, { kernel: { path: '/k' }, ...json });
    assert.deepEqual(
      encodeVmConfig(decode(VmConfig, words)),
      encodeVmConfig(expected),
      JSON.stringify(flags),
    );
  }
});

test('console modes by precedence: off, pty, tty, null, file; an unused file is dropped', () => {
  assert.deepEqual(consoleOf('file=/f,null,tty,pty,off'), { mode: 'Off' });
  assert.deepEqual(consoleOf('file=/f,null,tty,pty'), { mode: 'Pty' });
  assert.deepEqual(consoleOf('file=/f,null,tty'), { mode: 'Tty' });
  assert.deepEqual(consoleOf('file=/f,null'), { mode: 'Null' });
  assert.deepEqual(consoleOf('file=/f'), { mode: 'File', file: '/f' });
  assert.deepEqual(consoleOf('tty=foo'), { mode: 'Tty' });
});

test('texts of errors are Cloud Hypervisor’s, with the flag that is wrong', () => {
  const texts: [FlagTexts, string][] = [
    [{ cpus: ['4'] }, 'Error parsing --cpus: unknown option: 4'],
    [{ cpus: ['boot=300'] }, 'Error parsing --cpus: unable to parse 300 for boot'],
    [{ cpus: ['boot=1,topology=1:2'] }, 'Error parsing --cpus: unable to parse 1:2 for topology'],
    [{ memory: ['size=1T'] }, 'Error parsing --memory: unable to parse 1T for size'],
    [{ 'memory-zone': ['size=1G'] }, 'Error parsing --memory-zone: id missing'],
    [{ disk: ['foo'] }, 'Error parsing --disk: unknown option: foo'],
    [{ disk: ['path'] }, 'Error parsing --disk: invalid syntax:path'],
    [{ disk: ['path=/a,bw_size=10M'] }, 'Error parsing --disk: unable to parse 10M for bw_size'],
    [{ net: ['mac=x'] }, 'Error parsing --net: unable to parse x for mac'],
    [{ net: ['ops_size=x'] }, 'Error parsing --net: unable to parse x for ops_size'],
    [{ net: ['fd=3-3'] }, 'Error parsing --net: unable to parse 3-3 for fd'],
    [{ rng: ['source=/x'] }, 'Error parsing --rng: unknown option: source'],
    [{ balloon: ['size=x'] }, 'Error parsing --balloon: unable to parse x for size'],
    [{ fs: [''] }, 'Error parsing --fs: tag missing'],
    [{ fs: ['tag=t,num_queues=x'] }, 'Error parsing --fs: socket missing'],
    [{ fs: ['tag=t,socket=/s,dax=off,cache_size='] }, 'Error parsing --fs: cache_size used with dax=on'],
    [{ pmem: ['size=1'] }, 'Error parsing --pmem: file missing'],
    [{ console: [''] }, 'Error parsing --console: invalid console mode given'],
    [{ console: ['iommu=on'] }, 'Error parsing --console: invalid console mode given'],
    [{ serial: ['foo'] }, 'Error parsing --serial: unknown option: foo'],
    [{ serial: [''] }, 'Error parsing --serial: invalid console mode given'],
    [{ serial: ['socket='] }, 'Error validating configuration: Path missing when using socket console mode'],
    [{ serial: ['file='] }, 'Error validating configuration: Path missing when using file console mode'],
    [{ device: ['iommu=on'] }, 'Error parsing --device: path missing'],
    [{ vsock: [''] }, 'Error parsing --vsock: socket missing'],
    [{ vsock: ['socket=/s'] }, 'Error parsing --vsock: cid missing'],
    [{ 'sgx-epc': ['size=1M'] }, 'Error parsing --sgx-epc: id missing'],
    [{ numa: ['cpus=3-3'] }, 'Error parsing --numa: unable to parse 3-3 for cpus'],
    [{ numa: ['distances=1:2'] }, 'Error parsing --numa: unable to parse 1:2 for distances'],
  ];
  for (const [flags, text] of texts) assert.equal(fault(flags), text);
});

test('of several wrong flags the first in the order of Cloud Hypervisor is reported', () => {
  const order = ['disk', 'net', 'rng', 'balloon', 'fs', 'pmem', 'console', 'serial', 'device', 'vsock'];
  const all = [...order, 'sgx-epc', 'numa', 'cpus', 'memory', 'memory-zone'];
  const wrong = new Map(all.map((flag) => [flag, ['foo']]));
  for (const flag of all) {
    assert.equal(fault(Object.fromEntries(wrong)), `Error parsing --${flag}: unknown option: foo`);
    wrong.delete(flag);
  }
});

test('a well-formed but invalid value is reported as a fault of the configuration', () => {
  assert.equal(
    fault({ kernel: ['/k'], firmware: ['/f'] }, parseVmConfig),
    'Error validating configuration: payload: kernel and firmware are both given',
  );
  assert.equal(parseVmConfig({ firmware: ['/f'] }).config.kernel.path, '/f');
  assert.equal(
    fault({ kernel: ['/k'], memory: ['size=0'] }, parseVmConfig),
    'Error validating configuration: memory.size: must not be 0 without memory zones',
  );
});

test('a rate limit group and a disk of it', () => {
  const { config } = parseVmConfig({
    kernel: ['/k'],
    'rate-limit-group': ['id=g,bw_size=10,bw_refill_time=100', 'id=h'],
    disk: ['path=/a,rate_limit_group=g'],
  });
  const bandwidth = { size: 10, one_time_burst: 0, refill_time: 100 };
  assert.deepEqual(config.rate_limit_groups, [
    { id: 'g', rate_limiter_config: { bandwidth, ops: undefined } },
    { id: 'h', rate_limiter_config: undefined },
  ]);
  assert.equal(config.disks?.[0]?.rate_limit_group, 'g');
});

test('lists in brackets hold commas', () => {
  const { config } = parseVmConfig({
    kernel: ['/k'],
    cpus: ['boot=2'],
    net: ['fd=[3,7],num_queues=4,mac=12:34:56:78:90:ab'],
    platform: ['oem_strings=[one,two=2],num_pci_segments=1'],
  });
  assert.deepEqual(config.net?.[0]?.fd, [3, 7]);
  assert.deepEqual(config.platform?.oem_strings, ['one', 'two=2']);
});

test('paths with commas and equals signs are possible in quotes', () => {
  const { config } = parseVmConfig({ kernel: ['/k'], disk: ['path="/a,b=c",readonly=on'] });
  assert.equal(config.disks?.[0]?.path, '/a,b=c');
  assert.equal(config.disks?.[0]?.readonly, true);
});

test('a polled queue without a back-end is worth a warning', () => {
  const { warnings } = parseVmConfig({ kernel: ['/k'], disk: ['path=/a,poll_queue=off'] });
  assert.deepEqual(warnings, ['--disk: poll_queue is only used with vhost_user=on']);
});

test('words of later releases are ignored with a warning that names the flag', () => {
  const { warnings } = parseVmConfig({
    kernel: ['/k'],
    cpus: ['boot=1,core_scheduling=vm,profile=host'],
    device: ['path=/sys/d,fd=5'],
    numa: ['guest_numa_id=0,device_id=1'],
  });
  assert.deepEqual(warnings, [
    '--device: fd is ignored',
    '--numa: device_id is ignored',
    '--cpus: core_scheduling is ignored',
    '--cpus: profile is ignored',
  ]);
});

test('one flag can be read by itself, as ch-remote does', () => {
  assert.deepEqual(parseFlag('disk', DiskConfig, 'path=/a,id=x').json, { path: '/a', id: 'x' });
});

test('files for the firmware configuration device make the current form of the payload', () => {
  const { config } = parseVmConfig({
    kernel: ['/k'],
    initramfs: ['/i'],
    'fw-cfg-config': ['acpi_table=off,items=[name=opt/a,file=/x:name=opt/b,string=c=d]'],
  });
  assert.equal(config.kernel.path, '/k');
  assert.equal(config.initramfs?.path, '/i');
  assert.equal(config.payload?.fw_cfg_config?.acpi_tables, false);
});

test('a hint beside the message has the intended key, also for keys of other programs', () => {
  const hints: [FlagTexts, string][] = [
    [{ cpus: ['4'] }, 'did you mean boot=4?'],
    [{ cpus: ['cores=4'] }, 'did you mean boot=4?'],
    [{ memory: ['512MB'] }, 'did you mean size=512M?'],
    [{ disk: ['file=/a'] }, 'did you mean path=/a?'],
    [{ disk: ['path=/a, readonly=on'] }, 'did you mean readonly=on?'],
    [{ disk: ['readony'] }, 'did you mean readonly=on|off?'],
    [{ disk: ['path=/a,'] }, 'there is a comma or an equals sign too many'],
    [{ disk: ['path'] }, 'expected path=<path>'],
    [{ disk: ['path=/a=b'] }, 'a value with an equals sign is written in double quotes: path="/a=b"'],
    [{ disk: ['path=/a,bw_size=10M'] }, 'expected a number up to 9007199254740991; did you mean 10485760?'],
    [{ disk: ['path=/a,b'] }, 'a value with a comma is written in double quotes: path="/a,b"'],
    [{ disk: ['path=/a,readony'] }, 'did you mean readonly=on|off?'],
    [{ disk: ['path="/a,b'] }, 'the value of path has no closing double quote'],
    [{ net: ['tap0'] }, 'did you mean tap=tap0?'],
    [{ net: ['forward=tcp::2222-:22'] }, 'did you mean tcp:2222-22?'],
    [{ vsock: ['/s'] }, 'did you mean socket=/s?'],
    [{ vsock: ['3'] }, 'did you mean cid=3?'],
    [{ serial: ['stdio'] }, 'did you mean tty?'],
    [{ console: ['/tmp/x'] }, 'did you mean file=/tmp/x?'],
    [{ console: [''] }, 'expected off, pty, tty, null, file=<path> or socket=<path>'],
    [{ fs: ['socket=/s'] }, 'expected tag=<tag>'],
    [{ fs: ['tag=t'] }, 'expected directory=<path>, or socket=<path> of a daemon'],
    [{ fs: ['tag=t,dir=/d'] }, 'did you mean directory=/d?'],
    [{ fs: ['mount_tag=t,path=/d'] }, 'did you mean tag=t?'],
    [{ fs: ['tag=t,path=/d'] }, 'did you mean directory=/d?'],
    [{ fs: ['tag=t,directory=/d,cache=alwys'] }, 'did you mean always?'],
    [{ fs: ['tag=t,directory=/d,uid_map=:0:100000:65536:'] }, 'did you mean 0:100000:65536?'],
    [{ fs: ['tag=t,directory=/d,gid_map=0:0:0'] }, 'expected a count of at least 1'],
  ];
  for (const [flags, hint] of hints) {
    assert.throws(
      () => vmConfigJson(flags),
      (error) => error instanceof ConfigError && error.hint?.endsWith(hint) === true,
      `${JSON.stringify(flags)}: ${hint}`,
    );
  }
});
