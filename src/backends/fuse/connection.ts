import { CACHE_POLICIES, type CacheMode } from './cache-policy.ts';
import { EINVAL, EIO, ENOSYS, EPROTO } from './errors.ts';
import type { FileSystem } from './file-system.ts';
import { InitFlag } from './flags.ts';
import { MAJOR, MINOR, negotiate, type InitReply, type InitRequest, type Negotiated } from './init.ts';
import { Opcode } from './opcodes.ts';
import type { Served } from './operation.ts';
import { OPERATIONS } from './operations.ts';
import type { Outcome } from './outcome.ts';
import type { Request } from './request.ts';
import { BatchForgetIn, ForgetIn, ForgetOne, InitIn, InitOut } from './structures.ts';

/** Receives the outcome of a request, during `handle` or later. */
export type OnOutcome = (request: Request, outcome: Outcome) => void;

export interface ConnectionOptions {
  readonly files: FileSystem;
  /** requests that change anything fail with EROFS before the file system sees them */
  readonly readonly: boolean;
  readonly cache: CacheMode;
  /** the file system implements POSIX ACLs as extended attributes; default: false */
  readonly posixAcl?: boolean;
  readonly warn: (message: string) => void;
}

/** The protocol with one kernel, from its INIT to DESTROY or a reset. Knows no queues. */
export class Connection {
  readonly #options: ConnectionOptions;
  readonly #onOutcome: OnOutcome;
  #negotiated: Negotiated | undefined;
  #served: Served;

  constructor(options: ConnectionOptions, onOutcome: OnOutcome) {
    this.#options = options;
    this.#onOutcome = onOutcome;
    this.#served = this.#serve();
  }

  /** the negotiated state; undefined before INIT */
  get negotiated(): Negotiated | undefined {
    return this.#negotiated;
  }

  set negotiated(negotiated: Negotiated | undefined) {
    this.#negotiated = negotiated;
    this.#served = this.#serve();
  }

  /** Handles a request that was read. */
  handle(request: Request): void {
    const operation = OPERATIONS.get(request.opcode);
    if (operation !== undefined && this.#negotiated !== undefined) {
      operation(this.#served, request, this.#onOutcome);
      return;
    }
    let outcome: Outcome = -EIO;
    try {
      if (operation === undefined) outcome = this.#control(request);
    } catch (error) {
      this.#failed(error);
    }
    this.#onOutcome(request, outcome);
  }

  /** The kernel has unmounted, or its driver was reset. */
  reset(): void {
    this.negotiated = undefined;
    try {
      this.#options.files.reset();
    } catch (error) {
      this.#failed(error);
    }
  }

  /** Handles a request that is not for the file system. */
  #control(request: Request): Outcome {
    switch (request.opcode) {
      case Opcode.Forget:
        return this.#forget(request);
      case Opcode.BatchForget:
        return this.#forgetMany(request);
      // requests are finished in order, or belong to a program that cannot be interrupted
      case Opcode.Interrupt:
        return 'none';
      case Opcode.Init:
        return this.#init(request);
      case Opcode.Destroy:
        this.reset();
        return 0;
      default:
        return -ENOSYS;
    }
  }

  #forget(request: Request): Outcome {
    if (request.length >= ForgetIn.bytes) this.#forgetOne(request.node, request.u64(ForgetIn.count));
    return 'none';
  }

  #forgetMany(request: Request): Outcome {
    if (request.length < BatchForgetIn.bytes) return 'none';
    const most = Math.floor((request.length - BatchForgetIn.bytes) / ForgetOne.bytes);
    const count = Math.min(request.u32(BatchForgetIn.count), most);
    for (let i = 0; i < count; i++) {
      const at = BatchForgetIn.bytes + i * ForgetOne.bytes;
      this.#forgetOne(request.u64(at + ForgetOne.node), request.u64(at + ForgetOne.count));
    }
    return 'none';
  }

  #forgetOne(node: number, count: number): void {
    if (node <= 0 || this.#negotiated === undefined) return;
    this.#options.files.forget(node, count < 0 ? Number.MAX_SAFE_INTEGER : count);
  }

  #init(request: Request): Outcome {
    if (request.length < InitIn.shortBytes || request.space < InitOut.bytes) return -EINVAL;
    const asked = decodeInit(request);
    // the kernel sends INIT again with a version that both have
    if (asked.major > MAJOR) return encodeVersion(request);
    const reply = negotiate(asked, { cache: this.#options.cache, posixAcl: this.#options.posixAcl === true });
    if (reply === 'unsupported') {
      this.#options.warn(
        `the guest has FUSE ${asked.major}.${asked.minor}, which is too old: 7.31 is needed`,
      );
      return -EPROTO;
    }
    // a driver that was loaded again, without DESTROY
    this.reset();
    this.negotiated = { minor: asked.minor, flags: reply.flags, flags2: reply.flags2 };
    return encodeInit(request, reply);
  }

  #serve(): Served {
    const { files, readonly, cache } = this.#options;
    return {
      files,
      readonly,
      policy: CACHE_POLICIES[cache],
      setxattrExtended: ((this.#negotiated?.flags ?? 0) & InitFlag.SetxattrExtended) !== 0,
      failed: (error) => this.#failed(error),
    };
  }

  /** An exception is a fault of the file system: the request fails with EIO. */
  #failed(error: unknown): void {
    this.#options.warn(`a request failed: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function decodeInit(request: Request): InitRequest {
  const flags = request.u32(InitIn.flags);
  const isExtended = (flags & InitFlag.InitExtended) !== 0 && request.length >= InitIn.bytes;
  return {
    major: request.u32(InitIn.major),
    minor: request.u32(InitIn.minor),
    maxReadahead: request.u32(InitIn.maxReadahead),
    flags,
    flags2: isExtended ? request.u32(InitIn.flags2) : 0,
  };
}

function encodeInit({ output, outputView: view }: Request, reply: InitReply): number {
  output.fill(0, 0, InitOut.bytes);
  view.setUint32(InitOut.major, reply.major, true);
  view.setUint32(InitOut.minor, reply.minor, true);
  view.setUint32(InitOut.maxReadahead, reply.maxReadahead, true);
  view.setUint32(InitOut.flags, reply.flags, true);
  view.setUint16(InitOut.maxBackground, reply.maxBackground, true);
  view.setUint16(InitOut.congestionThreshold, reply.congestionThreshold, true);
  view.setUint32(InitOut.maxWrite, reply.maxWrite, true);
  view.setUint32(InitOut.timeGranularity, reply.timeGranularity, true);
  view.setUint16(InitOut.maxPages, reply.maxPages, true);
  view.setUint32(InitOut.flags2, reply.flags2, true);
  return InitOut.bytes;
}

function encodeVersion({ output, outputView: view }: Request): number {
  output.fill(0, 0, InitOut.bytes);
  view.setUint32(InitOut.major, MAJOR, true);
  view.setUint32(InitOut.minor, MINOR, true);
  return InitOut.bytes;
}
