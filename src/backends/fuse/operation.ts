import type { CachePolicy } from './cache-policy.ts';
import { EBADF, EINVAL, EIO, EROFS, ESTALE } from './errors.ts';
import type { Answer, Errno, FileSystem, Handle } from './file-system.ts';
import type { NameKind } from './names.ts';
import type { Encode } from './reply.ts';
import type { Request } from './request.ts';

/** The file system that a connection serves, and how. */
export interface Served {
  readonly files: FileSystem;
  readonly policy: CachePolicy;
  /** requests that change anything fail with EROFS */
  readonly readonly: boolean;
  /** SETXATTR has flags of its own (SETXATTR_EXT was negotiated) */
  readonly setxattrExtended: boolean;
  /** Reports an exception of the file system. */
  readonly failed: (error: unknown) => void;
}

/** Receives the result of a request: the bytes of its reply without the header, or a negative error. */
export type Finish = (request: Request, result: number) => void;

/** Form of a request and what is done for it. */
interface Declaration<T> {
  /** bytes of the structure behind the header */
  readonly bytes: number;
  /** strings behind the structure */
  readonly names?: readonly NameKind[];
  /** there are bytes behind the strings, as many as the guest likes */
  readonly hasTail?: boolean;
  /** offset of a handle in the structure */
  readonly handleAt?: number;
  /** bytes of the smallest reply that is no error; the guest must have buffers for it before anything is done */
  readonly replyBytes?: number;
  /** it changes the file system, and fails where that is read-only */
  readonly changes?: boolean | ((request: Request) => boolean);
  /** Calls the file system. Invalid arguments give the error that the method itself would. */
  readonly call: (served: Served, request: Request, handle: Handle) => Answer<T>;
  readonly encode: Encode<T>;
}

/** An operation of the protocol. */
export type Operation = (served: Served, request: Request, finish: Finish) => void;

export type Operations = Readonly<Record<number, Operation>>;

/** Makes an operation: checks the request, calls the file system, encodes its result, now or when its promise is settled. */
export function operation<T>(declaration: Declaration<T>): Operation {
  const { call, encode } = declaration;
  return (served, request, finish) => {
    const error = check(declaration, served, request);
    if (error !== 0) return finish(request, -error);
    const fail = (reason: unknown): void => {
      served.failed(reason);
      finish(request, -EIO);
    };
    const settle = (value: T): void => {
      let result: number;
      try {
        result = encode(value, request, served.policy);
      } catch (reason) {
        return fail(reason);
      }
      finish(request, result);
    };
    let answer: Answer<T>;
    try {
      answer = call(served, request, handleOf(declaration, request));
    } catch (reason) {
      return fail(reason);
    }
    if (isLater(answer)) answer.then(settle, fail);
    else settle(answer);
  };
}

/** @returns 0, or the error with which the request fails before the file system sees it */
function check<T>(declaration: Declaration<T>, served: Served, request: Request): Errno {
  const { bytes, replyBytes = 0 } = declaration;
  if (request.length < bytes || request.space < replyBytes) return EINVAL;
  if (request.node <= 0) return ESTALE;
  if (handleOf(declaration, request) < 0) return EBADF;
  const error = parseNames(declaration, request);
  if (error !== 0) return error;
  return served.readonly && changes(declaration, request) ? EROFS : 0;
}

function parseNames<T>({ bytes, names = [], hasTail = false }: Declaration<T>, request: Request): Errno {
  return names.length === 0 && hasTail ? 0 : request.parseNames(bytes, names, hasTail);
}

function changes<T>({ changes = false }: Declaration<T>, request: Request): boolean {
  return typeof changes === 'boolean' ? changes : changes(request);
}

function handleOf<T>({ handleAt }: Declaration<T>, request: Request): Handle {
  return handleAt === undefined ? 0 : request.u64(handleAt);
}

/** Returns whether an answer is a promise. */
function isLater<T>(answer: Answer<T>): answer is PromiseLike<T> {
  return typeof answer === 'object' && answer !== null && 'then' in answer;
}

/** Continues with an answer, now or later. */
export function after<T, U>(answer: Answer<T>, proceed: (value: T) => Answer<U>): Answer<U> {
  return isLater(answer) ? answer.then(proceed) : proceed(answer);
}
