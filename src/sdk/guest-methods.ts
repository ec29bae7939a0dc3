import type { Readable, Writable } from 'node:stream';
import type {
  ExecOptions,
  ExecResult,
  Guest,
  GuestCommand,
  GuestProcess,
  SpawnOptions,
  TransferOptions,
} from '../guest/guest.ts';
import type { CallOptions } from './client.ts';
import type { Forward, ForwardOptions } from './forward.ts';
import type { GuestLink } from './guest-link.ts';

/** Methods of a VM for its guest: commands, files and ports, by SSH. */
export abstract class GuestMethods {
  readonly #link: GuestLink;

  /** @internal */
  protected constructor(link: GuestLink) {
    this.#link = link;
  }

  /**
   * Returns the connection to the guest's SSH server, which the methods below share. It is made on first use, and again when it has ended.
   * @throws {GuestError} if there is none within 30 s, or within the options' limits
   */
  guest(options?: CallOptions): Promise<Guest> {
    return this.#link.connect(options);
  }

  /**
   * Runs a command in the guest until it exits; a text is run by `sh -c`. Any exit code is a result.
   * @throws {GuestError} on timeout, abort, a lost connection, or more output than the limit. The command is then dead in the guest
   */
  async exec(argv: GuestCommand['argv'], options: ExecOptions = {}): Promise<ExecResult> {
    return (await this.#link.connect(options)).exec(argv, options);
  }

  /** Starts a command with streams. @throws {GuestError} */
  async spawn(argv: GuestCommand['argv'], options: SpawnOptions = {}): Promise<GuestProcess> {
    return (await this.#link.connect(options)).spawn(argv, options);
  }

  /** Starts a log-in shell in a terminal. @throws {GuestError} */
  async shell(options: SpawnOptions = {}): Promise<GuestProcess> {
    return (await this.#link.connect(options)).shell(options);
  }

  /** Copies a file, a directory or a stream to a path in the guest, by SFTP. @throws {GuestError} */
  async upload(from: string | Readable, to: string, options: TransferOptions = {}): Promise<void> {
    return (await this.#link.connect(options)).upload(from, to, options);
  }

  /** Copies a file or a directory of the guest to a path, or a file to a stream, by SFTP. @throws {GuestError} */
  async download(from: string, to: string | Writable, options: TransferOptions = {}): Promise<void> {
    return (await this.#link.connect(options)).download(from, to, options);
  }

  /**
   * Listens on a port of this host (0: a free one) and connects its clients to a TCP port of the guest's loopback, through SSH. It ends
   * with its disposal or the VM's.
   * @throws the system's error if it cannot listen
   */
  forward(hostPort: number, guestPort: number, options?: ForwardOptions): Promise<Forward> {
    return this.#link.forward(hostPort, guestPort, options);
  }
}
