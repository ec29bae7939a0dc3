import type {
  AttributeChange,
  Attributes,
  Caller,
  Entry,
  Errno,
  FileSystemStatus,
  Handle,
  NodeId,
  Opened,
} from '../fuse/file-system.ts';

/** A place for an entry. */
export interface PlaceValue {
  readonly parent: NodeId;
  readonly name: Uint8Array;
}

/** An entry of a directory, with its inode where the guest requested it. */
export interface ListedEntry {
  readonly name: Uint8Array;
  readonly inode: bigint;
  /** bits of `st_mode` */
  readonly type: number;
  /** offset behind this entry */
  readonly next: number;
  /** the guest holds a reference to it, which must be dropped if the guest does not get the entry */
  readonly found?: Entry;
}

/** A change of attributes; a program has no handles. */
export type ChangeValue = Omit<AttributeChange, 'handle'>;

/** Requests of a guest as values that can be sent between threads, and their results. */
export interface Operations {
  readonly lookup: readonly [value: PlaceValue, result: Entry];
  readonly getattr: readonly [value: NodeId, result: Attributes];
  readonly setattr: readonly [value: { node: NodeId; change: ChangeValue }, result: Attributes];
  readonly readlink: readonly [value: NodeId, result: Uint8Array];
  readonly symlink: readonly [value: PlaceValue & { target: Uint8Array }, result: Entry];
  readonly mknod: readonly [value: PlaceValue & { mode: number; device: number }, result: Entry];
  readonly mkdir: readonly [value: PlaceValue & { mode: number }, result: Entry];
  readonly unlink: readonly [value: PlaceValue, result: true];
  readonly rmdir: readonly [value: PlaceValue, result: true];
  readonly rename: readonly [value: { from: PlaceValue; to: PlaceValue; flags: number }, result: true];
  readonly link: readonly [value: { node: NodeId; to: PlaceValue }, result: Entry];
  readonly open: readonly [value: { node: NodeId; flags: number }, result: Opened];
  readonly create: readonly [value: PlaceValue & { mode: number; flags: number }, result: Entry & Opened];
  readonly read: readonly [value: { handle: Handle; offset: number; length: number }, result: Uint8Array];
  readonly write: readonly [value: { node: NodeId; offset: number; data: Uint8Array }, result: true];
  readonly sync: readonly [value: NodeId, result: true];
  readonly opendir: readonly [value: NodeId, result: Opened];
  readonly readdir: readonly [
    value: { handle: Handle; offset: number; count: number; plus: boolean },
    result: readonly ListedEntry[],
  ];
  readonly statfs: readonly [value: undefined, result: FileSystemStatus];
}

export type OperationName = keyof Operations;

export type ValueOf<K extends OperationName> = Operations[K][0];
export type ResultOf<K extends OperationName> = Operations[K][1];

/** A request, with the process of the guest that it is made for. */
export type Operation<K extends OperationName = OperationName> = {
  [P in K]: { readonly name: P; readonly value: ValueOf<P>; readonly caller: Caller };
}[K];

/** Result of a request. */
export type Outcome<T> = { readonly value: T } | { readonly error: Errno };

/** Messages of the guest without a result. */
export type Notice =
  | { readonly name: 'forget'; readonly node: NodeId; readonly count: number }
  | { readonly name: 'release'; readonly handle: Handle }
  /** the guest has unmounted, was reset or has ended */
  | { readonly name: 'reset' };
