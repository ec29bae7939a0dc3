import type { Duplex, Readable, Writable } from 'node:stream';
import type { KeyExchangeSeed } from './ssh2-crypto.ts';

/*
 * Commands, files and connections in a guest, by SSH (RFC 4251 to 4254; ssh2) over any stream: a vsock connection, a virtio console,
 * or a TCP connection. The guest needs an SSH server, and no program of this project.
 *
 * States of a connection: connecting, open, closed. A closed one never opens again: its calls reject with GuestError.
 *
 * Invariants: bytes of stdin, stdout and stderr pass unchanged and are never mixed. Each result is awaited until both outputs have
 * ended. An aborted command is dead in the guest when its promise settles, or the connection is closed.
 */

/** A command for the guest. */
export interface GuestCommand {
  /** Program and arguments; a text is run by the shell of the user (`sh -c`) */
  readonly argv: readonly string[] | string;
  /** Working directory; that of the server's log-in by default */
  readonly cwd?: string;
  /** Variables, beside those of the server's log-in */
  readonly env?: Readonly<Record<string, string>>;
  /** `name`, `uid`, `name:group` or `uid:gid` of the guest; the user of the connection by default */
  readonly user?: string;
}

/**
 * Renders a command as the one text of an SSH `exec` request (RFC 4254, 6.5), for the shell that the server starts. The text replaces the
 * shell by the command (`exec`), which leads a session and a process group of its own.
 */
export type RenderCommand = (command: GuestCommand, terminal: boolean) => string;

/** Size of a terminal, in characters. */
export interface TerminalSize {
  readonly columns: number;
  readonly rows: number;
}

/** Options of {@link Guest.spawn}. */
export interface SpawnOptions extends Omit<GuestCommand, 'argv'> {
  /** A pseudo terminal: stdout and stderr are then one stream */
  readonly pty?: TerminalSize & { readonly term?: string };
  /** Ends the command with its process group, SIGKILL at last */
  readonly signal?: AbortSignal;
  /** Time limit of the command in `milliseconds`; it is ended as by `signal` */
  readonly timeoutMs?: number;
}

/** Options of {@link Guest.exec}. */
export interface ExecOptions extends SpawnOptions {
  /** Standard input: it ends with the text, the bytes or the stream. None by default: the command reads end of file */
  readonly input?: string | Uint8Array | Readable;
  /** Receive output as it arrives; the result then has none of it */
  readonly onStdout?: (bytes: Buffer) => void;
  readonly onStderr?: (bytes: Buffer) => void;
  /** Maximum of each output that is kept for the result, in `bytes`; 64 MiB by default. The command is ended beyond it */
  readonly maxOutputBytes?: number;
}

/** Exit of a command: a code, or the name of the signal that ended it, without `SIG` (RFC 4254, 6.10). */
export interface GuestExit {
  readonly exitCode: number | null;
  readonly signal: string | null;
}

/** Result of {@link Guest.exec}. */
export interface ExecResult extends GuestExit {
  readonly stdout: string;
  readonly stderr: string;
}

/** A running command. */
export interface GuestProcess {
  /** `end()` ends the command's input; its output continues */
  readonly stdin: Writable;
  readonly stdout: Readable;
  /** Ends at once with a terminal */
  readonly stderr: Readable;
  /** Settles after the exit and both outputs. Rejects with GuestError if the connection breaks, or the command is ended by its options */
  readonly exited: Promise<GuestExit>;
  /** Sends a signal to the process group of the command, e.g. `TERM` */
  kill(signal?: string): Promise<void>;
  /** Changes the size of its terminal */
  resize(size: TerminalSize): void;
}

/** A connection to the SSH server of a guest. */
export interface Guest extends AsyncDisposable {
  /** Runs a command until it exits. Any exit code is a result, not an error. @throws GuestError */
  exec(argv: GuestCommand['argv'], options?: ExecOptions): Promise<ExecResult>;
  /** Starts a command with streams. @throws GuestError */
  spawn(argv: GuestCommand['argv'], options?: SpawnOptions): Promise<GuestProcess>;
  /** Starts a log-in shell in a terminal. */
  shell(options?: SpawnOptions): Promise<GuestProcess>;
  /** Copies a file or a directory, or the bytes of a stream, to a path in the guest. */
  upload(from: string | Readable, to: string, options?: TransferOptions): Promise<void>;
  /** Copies a file or a directory of the guest to a path, or a file to a stream. */
  download(from: string, to: string | Writable, options?: TransferOptions): Promise<void>;
  /**
   * Writes the files of a tar archive below a directory of the guest. Their owner is the user of the connection; a name that leaves the
   * directory is refused.
   */
  uploadArchive(from: Readable, to: string, options?: Omit<TransferOptions, 'mode'>): Promise<void>;
  /** Writes a file or a directory to a stream as a tar archive, whose names begin with the last one of the path. */
  downloadArchive(from: string, to: Writable, options?: Omit<TransferOptions, 'mode'>): Promise<void>;
  /** Returns the kind of a file, for a link that of its target; undefined if there is none. */
  kindOf(path: string): Promise<FileKind | undefined>;
  /** Connects to a TCP port as a program in the guest would (`direct-tcpip`, RFC 4254, 7.2). */
  connectTcp(port: number, host?: string): Promise<Duplex>;
  /** Settles when the connection has ended, with the reason of a failure. Never rejects. */
  readonly closed: Promise<Error | undefined>;
}

/** Kind of a file in a guest. */
export type FileKind = 'file' | 'directory' | 'link' | 'other';

/** Options of uploads and downloads. */
export interface TransferOptions {
  readonly signal?: AbortSignal;
  /** Mode of a new file that is written from a stream; 0o644 by default */
  readonly mode?: number;
  readonly onProgress?: (bytes: number) => void;
  /**
   * Receives the path of each entry of a directory or an archive that SFTP cannot copy: sockets, FIFOs and devices. They are left out. Without
   * it the transfer fails
   */
  readonly onSkipped?: (path: string) => void;
}

/** Description of a connection to make. */
export interface GuestAccess {
  /** Open stream to the SSH server; owned by the connection from the call on, also if that fails */
  readonly stream: Duplex;
  /** User to log in as; `root` by default */
  readonly user?: string;
  /** Private key in OpenSSH's format; without one the server must accept the method `none` (RFC 4252, 5.2) */
  readonly privateKey?: string;
  /**
   * Renders commands for a server whose `signal` requests (RFC 4254, 6.9) reach the process group of a command. By default commands are
   * rendered for any log-in shell, with programs of the guest, and signals are sent by `kill` of its shell.
   */
  readonly render?: RenderCommand;
  /** Command that becomes an SFTP server; the subsystem `sftp` by default */
  readonly sftpCommand?: string;
  /** Commands at the same time; the others wait. 8 by default (OpenSSH has 10 sessions for a connection), 32 for dropbear */
  readonly maxCommands?: number;
  /** Random numbers of the key exchange; new ones by default. With those of a recorded connection its bytes are accepted again */
  readonly seed?: KeyExchangeSeed;
  readonly signal?: AbortSignal;
  /** Time limit until commands can run, in `milliseconds`; 30,000 by default */
  readonly timeoutMs?: number;
}

/** Opens a connection. @throws GuestError */
export type ConnectGuest = (access: GuestAccess) => Promise<Guest>;
