import { RequestError } from '../sdk/errors.ts';
import { TransportError } from '../sdk/transport.ts';
import { osText } from './os-text.ts';
import { CommandError } from './remote-bodies.ts';
import { statusName } from './status-name.ts';

/** Returns an error of the SDK in the words of `ch-remote`; any other error unchanged. */
export function commandError(error: unknown): unknown {
  const make = (message: string): CommandError => new CommandError(message, undefined, { cause: error });
  if (error instanceof RequestError) {
    const { status, reasons } = error;
    return make(`Server responded with an error: ${statusName(status)}: ${JSON.stringify(reasons)}`);
  }
  if (!(error instanceof TransportError)) return error;
  const step = error.fault === 'connect' ? 'opening' : 'writing to or reading from';
  return make(`Error ${step} HTTP socket: ${osText(error.cause)}`);
}
