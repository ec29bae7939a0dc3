import { ProtocolError } from './reply.ts';

/** Largest head of a request, in bytes. */
export const MAX_HEAD_BYTES = 16 * 1024;

/** Maps an error of Node's parser to a fault of the request; undefined for an error of the socket. */
export function protocolFault(error: Error & { code?: string; reason?: string }): ProtocolError | undefined {
  if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    return new ProtocolError(408, 'The request head was not whole in time');
  }
  if (error.code === 'HPE_HEADER_OVERFLOW') {
    return new ProtocolError(431, `Request head is larger than ${MAX_HEAD_BYTES} bytes`);
  }
  if (error.code === 'HPE_INVALID_EOF_STATE') {
    return new ProtocolError(400, 'Malformed request: the connection ended in the middle of it');
  }
  if (error.code?.startsWith('HPE_') !== true) return undefined;
  return new ProtocolError(400, `Malformed request: ${error.reason ?? error.message}`);
}
