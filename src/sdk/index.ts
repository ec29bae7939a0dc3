/** SDK: {@link VirtualMachine} starts a VM with a VMM of its own, {@link Client} connects to a running VMM. */
export { Client } from './client.ts';
export { composeSnapshot, type ComposeOptions } from './compose-snapshot.ts';
export type {
  CallArguments,
  CallOptions,
  ClientOptions,
  DescriptorEndpoint,
  AsyncEndpoint,
  DescriptorOptions,
  ObserveOptions,
  OptionsOf,
  ReplyBody,
  RequestBody,
} from './client.ts';
export type { OperationOptions } from './operation.ts';
export type { OperationProgress } from '../api/operations.ts';
export type { Console } from './console.ts';
export {
  BusyError,
  CancelledError,
  ConsoleError,
  DuplicateIdError,
  ForkError,
  InvalidRequestError,
  LaunchError,
  NotFoundError,
  NotSupportedError,
  RequestError,
  VsockError,
  WrongStateError,
} from './errors.ts';
export type { EventOptions, VmmEvent } from './events.ts';
export type { ForkOptions } from './fork.ts';
export type { CloneOverrides } from './fork-folder.ts';
export { serveFs, type FsShare, type ProvidedFs } from './fs-share.ts';
export { archive, type Archive, type ArchiveOptions } from '../backends/fs-provider/archive/archive.ts';
export { FsError } from '../backends/fs-provider/errors.ts';
export { memoryTree, type MemoryTree, type MemoryTreeOptions } from '../backends/fs-provider/memory-tree.ts';
export { overlay, type Overlay, type OverlayOptions } from '../backends/fs-provider/overlay/overlay.ts';
export type * from '../backends/fs-provider/provider.ts';
export type { ServeOptions } from '../backends/fs-provider/service.ts';
export type { NotifyMessage } from './notify/message.ts';
export { ReadyError } from './notify/ready.ts';
export { TransportError, type TransportFault } from './transport.ts';
export type { Forward, ForwardOptions } from './forward.ts';
export { GuestError, type GuestFault } from '../guest/errors.ts';
export type {
  ExecOptions,
  ExecResult,
  Guest,
  GuestCommand,
  GuestExit,
  GuestProcess,
  RenderCommand,
  SpawnOptions,
  TerminalSize,
  TransferOptions,
} from '../guest/guest.ts';
export type { GuestOptions } from './guest-link.ts';
export {
  VirtualMachine,
  type AttachOptions,
  type LaunchOptions,
  type RestoreOptions,
} from './virtual-machine.ts';
export type { LiveSnapshotResult, SnapshotOptions } from './snapshot.ts';
export type { VmEnd, VmEndCause } from './vm-end.ts';
export type { VmmEnd, VmmOptions, VmmProcess, VmmSource } from './vmm-process.ts';
export { VmmPool, type PoolRestoreOptions, type TakeOptions, type VmmPoolOptions } from './vmm-pool.ts';
export { connectVsock } from './vsock.ts';
export type { VmConfigInput as VmConfig } from '../config/vm-config.ts';
export type { RouteName as Endpoint } from '../api/routes.ts';
