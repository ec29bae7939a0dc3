import type { RunRequest } from '../../run/run-request.ts';

/** Returns a request for tests of VM directories. */
export function testRequest(name: string, members: Partial<RunRequest> = {}): RunRequest {
  return {
    image: 'alpine:3.20',
    command: ['sleep', '1000'],
    name,
    isInteractive: false,
    hasTerminal: false,
    isDetached: true,
    removes: false,
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
