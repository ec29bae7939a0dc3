import { optional, struct, type ValueOf } from '../schema/field.ts';
import { anyObject, choice, flag, list, nested, text, uint } from '../schema/kinds.ts';
import { ERROR_CODES } from './errors.ts';
import type { NamedMap } from './replies.ts';

/*
 * Schemas of vmm.operations: requests that are served asynchronously (`Prefer: respond-async`, RFC 7240).
 */

/** States of an operation. The last three are final. */
export const OPERATION_STATES = ['queued', 'running', 'succeeded', 'failed', 'cancelled'] as const;

export type OperationState = (typeof OPERATION_STATES)[number];

export interface OperationId extends ValueOf<typeof OperationId> {}
export const OperationId = struct({
  name: 'OperationId',
  doc: 'An operation',
  fields: { id: text('Id of the operation', '<id>') },
});

const amount = (doc: string) => optional(uint(doc, { bits: 64, format: 'int64' }));

export interface OperationProgress extends ValueOf<typeof OperationProgress> {}
export const OperationProgress = struct({
  name: 'OperationProgress',
  doc: 'Progress of an operation',
  fields: {
    phase: text('Current step, e.g. `memory`'),
    done: amount('Completed part of `total`; absent if the step has no amount'),
    total: amount('Size of the step; it may still grow'),
    unit: optional(choice('Unit of `done` and `total`', ['bytes'])),
  },
});

const time = (doc: string) => text(`${doc}, in RFC 3339, UTC`);

export interface OperationInfo extends ValueOf<typeof OperationInfo> {}
export const OperationInfo = struct({
  name: 'OperationInfo',
  doc: 'A request that is served asynchronously',
  fields: {
    id: text('Id, unique across all VMMs'),
    kind: text('Endpoint of the request, e.g. `vm.snapshot`'),
    state: choice('State; `succeeded`, `failed` and `cancelled` are final', OPERATION_STATES),
    cancellable: flag('The operation can be cancelled now'),
    progress: optional(nested(OperationProgress)),
    result: optional(anyObject('Body of the synchronous answer, if it has one')),
    error: optional(list(text('A message'))),
    code: optional(choice('Kind of the error', ERROR_CODES)),
    queued: time('Time of the request'),
    started: optional(time('Time of the start')),
    finished: optional(time('Time of the end')),
  },
});

const operations = list(nested(OperationInfo));

/** Answer of vmm.operations: an array of operations in the order of their requests. */
export const OperationList: NamedMap<typeof operations.schema> = {
  name: 'OperationList',
  doc: 'Queued and running operations, and the last 64 finished ones, in the order of their requests',
  schema: operations.schema,
  document: operations.document,
  everything: operations.everything,
};
