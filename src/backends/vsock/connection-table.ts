import type { Connection } from './connection.ts';

/** Connections by their two ports. */
export class ConnectionTable {
  readonly #byGuestPort = new Map<number, Map<number, Connection>>();

  get(guestPort: number, hostPort: number): Connection | undefined {
    return this.#byGuestPort.get(guestPort)?.get(hostPort);
  }

  add(connection: Connection): void {
    let byHostPort = this.#byGuestPort.get(connection.guestPort);
    if (byHostPort === undefined) this.#byGuestPort.set(connection.guestPort, (byHostPort = new Map()));
    byHostPort.set(connection.hostPort, connection);
  }

  remove({ guestPort, hostPort }: Connection): void {
    const byHostPort = this.#byGuestPort.get(guestPort);
    byHostPort?.delete(hostPort);
    if (byHostPort?.size === 0) this.#byGuestPort.delete(guestPort);
  }

  clear(): void {
    this.#byGuestPort.clear();
  }
}
