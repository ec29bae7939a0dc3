import {
  decodeConsoleQuery,
  decodeConsoleRequest,
  type ConsoleQuery,
  type ConsoleReport,
  type ConsoleRequest,
  type ViewedConsole,
} from '../api/console-messages.ts';
import { ApiError } from '../api/errors.ts';
import { checkPhaseOf } from '../api/handlers.ts';
import type { MessageChannel, MessageReceiver } from '../api/route.ts';
import { UPGRADE_ROUTES } from '../api/upgrade-routes.ts';
import type { ConsoleHub, Viewer } from '../host/console/console-hub.ts';
import { inBackground } from '../util/background.ts';
import { connectConsole } from './connect-console.ts';
import { resizeConsole } from './resize-console.ts';
import { createSizeQueue } from './size-queue.ts';
import type { VmmState } from './vmm-state.ts';

/** Queued bytes from which a viewer gets no more output until it has read, in bytes. */
const QUEUE_BYTES = 262_144;

/** Most bytes that may be queued for a viewer that sends requests and does not read the answers. */
const ANSWER_BYTES = 2 * QUEUE_BYTES;

/** Status codes of RFC 6455, section 7.4.1. */
const GOING_AWAY = 1001;
const POLICY = 1008;

/** Accepts a viewer of a console (vm.console). Rejects with ApiError if there is no such console now, or the query is not valid. */
export async function acceptViewer(
  vmm: VmmState,
  text: URLSearchParams,
): Promise<(channel: MessageChannel) => MessageReceiver> {
  const query = decodeConsoleQuery(text);
  // checked before and after an operation, which may have waited for others
  hubOf(vmm, query.device);
  await connectConsole(vmm, query.device);
  const hub = hubOf(vmm, query.device);
  const resize = (request: ConsoleRequest): Promise<ConsoleReport> =>
    resizeConsole(vmm.vm?.booted?.machine, query.device, request);
  return (channel) => addViewer(channel, { query, hub, resize });
}

function hubOf(vmm: VmmState, device: ViewedConsole): ConsoleHub {
  checkPhaseOf(UPGRADE_ROUTES['vm.console'], vmm.vm?.state ?? 'none');
  if (vmm.vm?.config[device].mode === 'Off')
    throw new ApiError('unknown-device', `The mode of ${device} is Off`);
  if (device === 'console' && vmm.vm?.config.console.port !== undefined) {
    throw new ApiError('unknown-device', 'The console is a port of programs, which has no viewers');
  }
  const hub = vmm.vm?.booted?.consoles.hub(device);
  if (hub === undefined) throw new ApiError('busy', 'The VM is being rebooted: try again');
  return hub;
}

interface ViewedHub {
  readonly query: ConsoleQuery;
  readonly hub: ConsoleHub;
  readonly resize: (request: ConsoleRequest) => Promise<ConsoleReport>;
}

function addViewer(channel: MessageChannel, { query, hub, resize }: ViewedHub): MessageReceiver {
  const report = (one: ConsoleReport): void => channel.sendText(JSON.stringify(one));
  const viewer: Viewer = hub.view(
    {
      sendOutput: channel.sendBytes,
      sendPosition: (position, lost) => report({ type: 'position', position, lost }),
      isFull: () => channel.queued() >= QUEUE_BYTES,
      pauseInput: channel.pause,
      resumeInput: channel.resume,
      end: () => channel.close(GOING_AWAY, 'The console is closed: the VM was shut down'),
    },
    query.after,
  );
  const answer = createSizeQueue(resize, (one) => {
    const isRead = channel.queued() <= ANSWER_BYTES;
    if (isRead) report(one);
    else channel.close(POLICY, 'The answers are not read');
    return isRead;
  });
  return {
    onBytes: (bytes) => {
      if (query.write) viewer.write(bytes);
      else channel.close(POLICY, 'This viewer is read-only (write=0)');
    },
    onText: (text) => {
      const request = decodeConsoleRequest(text);
      if (request === undefined)
        channel.close(POLICY, 'The text is no request in JSON: see docs/consoles.md');
      else inBackground('a console could not be resized', answer(request));
    },
    onTaken: viewer.continue,
    onClose: viewer.leave,
  };
}
