import type { RunRequest } from './run-request.ts';

/** Returns the request of `nephos run --rm alpine:3.20 -- true` for tests, with other members where they are given. */
export function testRunRequest(members: Partial<RunRequest> = {}): RunRequest {
  return {
    image: 'alpine:3.20',
    command: ['true'],
    isInteractive: false,
    hasTerminal: false,
    isDetached: false,
    removes: true,
    env: {},
    volumes: [],
    ports: [],
    cpus: 1,
    memory: 2 ** 28,
    network: 'user',
    labels: {},
    pull: 'missing',
    isCold: false,
    ...members,
  };
}
