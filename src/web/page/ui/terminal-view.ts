import { FitAddon } from '@xterm/addon-fit';
import { Terminal } from '@xterm/xterm';
import { openConsole } from './console-link.ts';

interface TerminalOptions {
  readonly device: string;
  readonly title: string;
  readonly isReadOnly: boolean;
  /** called when the user leaves the terminal with the keyboard */
  readonly onLeave: () => void;
  readonly onConnection: (isConnected: boolean) => void;
}

const LINES_KEPT = 5000;

/** Opens a terminal in an element, connected to a console. @returns a function that closes both */
export function openTerminal(place: HTMLElement, options: TerminalOptions): () => void {
  const { device, title, isReadOnly, onLeave, onConnection } = options;
  const terminal = new Terminal({
    scrollback: LINES_KEPT,
    fontSize: 13,
    fontFamily: "ui-monospace, 'DejaVu Sans Mono', monospace",
    screenReaderMode: true,
    disableStdin: isReadOnly,
    theme: { background: '#0d1117', foreground: '#e6edf3' },
  });
  const fit = new FitAddon();
  terminal.loadAddon(fit);
  terminal.open(place);
  terminal.textarea?.setAttribute('aria-label', `${title}: input`);
  leaveWithKey(terminal, onLeave);
  const link = openConsole(device, isReadOnly, {
    onOutput: (bytes) => terminal.write(bytes),
    onLost: (bytes) => terminal.write(`\r\n[${bytes} bytes of output are no longer kept]\r\n`),
    onChange: onConnection,
  });
  terminal.onData((text) => link.send(text));
  terminal.onBinary((text) => link.send(Uint8Array.from(text, (one) => one.charCodeAt(0))));
  terminal.onResize(({ cols, rows }) => link.resize(cols, rows));
  fit.fit();
  link.resize(terminal.cols, terminal.rows);
  const watch = new ResizeObserver(() => fit.fit());
  watch.observe(place);
  return () => {
    watch.disconnect();
    link.close();
    terminal.dispose();
  };
}

/** Ctrl-] leaves the terminal, as in `ch-remote console`: all other keys, Tab too, are input of the guest. */
function leaveWithKey(terminal: Terminal, onLeave: () => void): void {
  terminal.attachCustomKeyEventHandler((event) => {
    if (!event.ctrlKey || event.key !== ']') return true;
    if (event.type === 'keydown') onLeave();
    return false;
  });
}
