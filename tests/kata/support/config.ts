import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { built, cniFolder } from './home.ts';
import { KERNEL } from '../../support/guest.ts';
import { REPO } from '../../support/vmm.ts';

/** The bridge of the pods' network, in the network namespace of containerd. */
const BRIDGE = 'nephos-kata';

const VMM = join(REPO, 'bin', 'cloud-hypervisor');

/** Kernel parameters that a kernel without cgroup v1 needs, Debian's for one. */
const CGROUPS = 'cgroup_no_v1=all systemd.unified_cgroup_hierarchy=1 agent.unified_cgroup_hierarchy=1';

/** A value of TOML that JSON writes in the same way: texts, numbers, booleans, lists of these. */
type Toml = string | number | boolean | readonly string[];

/** Writes a TOML file of sections. */
function writeToml(path: string, sections: Readonly<Record<string, Readonly<Record<string, Toml>>>>): void {
  const lines = Object.entries(sections).flatMap(([name, members]) => [
    ...(name === '' ? [] : [`[${name}]`]),
    ...Object.entries(members).map(([key, value]) => `${key} = ${JSON.stringify(value)}`),
  ]);
  writeFileSync(path, `${lines.join('\n')}\n`);
}

/** Kinds of sandboxes. */
export interface SandboxOptions {
  /** Kata's runtime: the one in Go, or runtime-rs */
  readonly runtime?: 'go' | 'rs' | undefined;
  /** with VM templates, which need a guest without shared folder */
  readonly template?: string | undefined;
  /** with all vCPUs and RAM of a pod's containers at its start */
  readonly sizedAtStart?: boolean | undefined;
}

interface KataOptions extends SandboxOptions {
  readonly initrd: string;
}

/** Members for a folder of the host that the guest's containers are in. */
function sharedFolder(): Readonly<Record<string, Toml>> {
  return {
    shared_fs: 'virtio-fs',
    virtio_fs_daemon: built('virtiofsd'),
    valid_virtio_fs_daemon_paths: [built('virtiofsd')],
    virtio_fs_cache: 'auto',
    virtio_fs_queue_size: 1024,
    virtio_fs_extra_args: ['--thread-pool-size=1', '--announce-submounts'],
  };
}

/** Members of the hypervisor's section that both runtimes have. */
function hypervisor({ initrd, template }: KataOptions): Readonly<Record<string, Toml>> {
  return {
    path: VMM,
    valid_hypervisor_paths: [VMM],
    kernel: KERNEL,
    initrd,
    kernel_params: CGROUPS,
    default_vcpus: 1,
    default_maxvcpus: 2,
    default_memory: 512,
    default_maxmemory: 2048,
    disable_selinux: true,
    disable_guest_selinux: true,
    ...(template === undefined ? sharedFolder() : {}),
  };
}

/** Writes configuration-clh.toml as docs/kubernetes.md has it for a machine without KVM. */
export function writeKataConfig(path: string, options: KataOptions): void {
  const { template, sizedAtStart = false } = options;
  writeToml(path, {
    'hypervisor.clh': {
      ...hypervisor(options),
      disable_block_device_use: false,
      block_device_driver: 'virtio-blk',
      ...(template === undefined ? {} : { shared_fs: 'none' }),
    },
    ...(template === undefined ? {} : { factory: { enable_template: true, template_path: template } }),
    'agent.kata': { dial_timeout: 120 },
    runtime: {
      internetworking_model: 'tcfilter',
      disable_guest_seccomp: true,
      sandbox_cgroup_only: false,
      static_sandbox_resource_mgmt: sizedAtStart,
      disable_guest_empty_dir: true,
      create_container_timeout: 300,
    },
  });
}

/** Writes configuration-clh-runtime-rs.toml likewise. A pod that is sized at its start has the overhead instead of the default. */
export function writeRuntimeRsConfig(path: string, options: KataOptions): void {
  const { template, sizedAtStart = false } = options;
  const factory = { enable_template: true, template_path: template ?? '' };
  writeToml(path, {
    'hypervisor.clh': {
      ...hypervisor(options),
      overhead_vcpus: 1,
      overhead_memory: 512,
      block_device_driver: 'virtio-blk-pci',
      queue_size: 128,
      num_queues: 1,
    },
    ...(template === undefined ? {} : { 'hypervisor.clh.factory': factory }),
    'agent.kata': { dial_timeout_ms: 10, reconnect_timeout_ms: 120_000, create_container_timeout: 300 },
    runtime: {
      name: 'virt_container',
      hypervisor_name: 'clh',
      agent_name: 'kata',
      internetworking_model: 'tcfilter',
      disable_guest_seccomp: true,
      sandbox_cgroup_only: true,
      static_sandbox_resource_mgmt: sizedAtStart,
    },
  });
}

interface ContainerdOptions {
  readonly runtimeType: string;
  readonly folder: string;
  readonly socket: string;
  readonly kataConfig: string;
  readonly image: string;
}

/** Writes containerd's configuration; the form of version 2 is read by containerd 1.6 to 2. */
export function writeContainerdConfig(
  path: string,
  { runtimeType, folder, socket, kataConfig, image }: ContainerdOptions,
): void {
  const cri = 'plugins."io.containerd.grpc.v1.cri"';
  const runtime = `${cri}.containerd.runtimes.kata`;
  const network = join(folder, 'cni');
  mkdirSync(network);
  writeToml(path, {
    '': { version: 2, root: join(folder, 'root'), state: join(folder, 'state') },
    grpc: { address: socket },
    [cri]: { sandbox_image: image },
    [`${cri}.cni`]: { bin_dir: cniFolder() ?? '', conf_dir: network },
    [`${cri}.containerd`]: { default_runtime_name: 'kata', snapshotter: 'overlayfs' },
    [runtime]: { runtime_type: runtimeType, privileged_without_host_devices: true },
    [`${runtime}.options`]: { ConfigPath: kataConfig },
  });
  const ipam = { type: 'host-local', dataDir: join(folder, 'addresses'), subnet: '10.231.0.0/24' };
  const plugins = [{ type: 'bridge', bridge: BRIDGE, isGateway: true, ipam }];
  writeFileSync(
    join(network, '10-kata.conflist'),
    JSON.stringify({ cniVersion: '0.4.0', name: 'kata', plugins }),
  );
}
