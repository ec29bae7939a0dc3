import type { Client } from '../../sdk/client.ts';
import type { PublishedPort, RunRequest } from '../run-request.ts';

/** Returns the published ports with the numbers that the host chose. */
export async function publishedPorts(
  { ports }: RunRequest,
  client: Client,
): Promise<readonly PublishedPort[]> {
  if (ports.length === 0) return [];
  const { config } = await client.call('vm.info');
  const forwards = config.net?.flatMap(({ forwards }) => forwards ?? []) ?? [];
  // the VMM keeps their order
  return ports.map((port, i) => ({ ...port, hostPort: forwards[i]?.host_port ?? port.hostPort }));
}
