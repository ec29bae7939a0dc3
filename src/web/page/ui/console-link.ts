import { consolePath, readPosition } from '../model/console-report.ts';

/** Receiver of a console's output, and of the state of the connection. */
export interface ConsoleViewer {
  readonly onOutput: (bytes: Uint8Array) => void;
  /** `bytes` of output that came while there was no connection are no longer kept */
  readonly onLost: (bytes: number) => void;
  readonly onChange: (isConnected: boolean) => void;
}

/** A connection to a console, which is opened again when it ends. */
export interface ConsoleLink {
  readonly send: (input: string | Uint8Array) => void;
  /** Tells the guest the size of the terminal, in characters. */
  readonly resize: (columns: number, rows: number) => void;
  readonly close: () => void;
}

/** Time until a connection that has ended is opened again, in ms: the VM may be rebooting. */
const RETRY_MS = 500;

/** Connects to a console of the VM. */
export function openConsole(device: string, isReadOnly: boolean, viewer: ConsoleViewer): ConsoleLink {
  let socket: WebSocket | undefined;
  let timer: number | undefined;
  let isClosed = false;
  /** bytes of output so far, on which a new connection continues */
  let position: number | undefined;
  let size = '';
  const send = (message: string | Uint8Array<ArrayBuffer>): void => {
    if (socket?.readyState === WebSocket.OPEN) socket.send(message);
  };
  const onMessage = ({ data }: MessageEvent<ArrayBuffer | string>): void => {
    if (typeof data !== 'string') {
      position = (position ?? 0) + data.byteLength;
      return viewer.onOutput(new Uint8Array(data));
    }
    const report = readPosition(data);
    if (report === undefined) return;
    position = report.position;
    if (report.lost > 0) viewer.onLost(report.lost);
  };
  const open = (): void => {
    const opened = new WebSocket(consolePath(device, position, isReadOnly));
    opened.binaryType = 'arraybuffer';
    opened.addEventListener('message', onMessage);
    opened.addEventListener('open', () => {
      viewer.onChange(true);
      if (size !== '') send(size);
    });
    opened.addEventListener('close', () => {
      viewer.onChange(false);
      if (!isClosed) timer = window.setTimeout(open, RETRY_MS);
    });
    socket = opened;
  };
  open();
  const encoder = new TextEncoder();
  return {
    // text messages are requests
    send: (input) => send(typeof input === 'string' ? encoder.encode(input) : new Uint8Array(input)),
    resize: (columns, rows) => {
      size = JSON.stringify({ type: 'resize', columns, rows });
      send(size);
    },
    close: () => {
      isClosed = true;
      window.clearTimeout(timer);
      socket?.close();
    },
  };
}
