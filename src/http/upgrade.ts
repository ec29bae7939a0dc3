import type { IncomingMessage } from 'node:http';
import { ApiError } from '../api/errors.ts';
import type { Upgrades } from '../api/route.ts';
import { hasBody } from './body.ts';
import type { Connection } from './connection.ts';
import type { Gate } from './gate.ts';
import { errorReply, wrongVerbReply, type Reply } from './reply.ts';
import { loadWs } from '../util/load-ws.ts';
import { upgradeTarget, type UpgradeTarget } from './target.ts';
import { CLOSE_CODES, openWebSocket, type OfferedUpgrade } from './web-socket.ts';

/** Returns whether a request asks for an upgrade that an endpoint answers. The method and the path decide, not the protocol. */
export function offersUpgrade(upgrades: Upgrades, request: IncomingMessage): boolean {
  return request.method === 'GET' && upgradeTarget(upgrades, request) !== undefined;
}

/** Returns the reply to a request without an upgrade for an endpoint that needs one; undefined for any other path. */
export function plainReply(upgrades: Upgrades, request: IncomingMessage): Reply | undefined {
  const target = upgradeTarget(upgrades, request);
  if (target === undefined) return undefined;
  const { method = '' } = request;
  if (method !== 'GET')
    return wrongVerbReply(target.name, [{ method: 'GET', notAllowed: () => true }], method);
  return errorReply(
    target.name,
    refusal('This is a WebSocket: send Connection: Upgrade and Upgrade: websocket'),
  );
}

/** Rules and endpoints of a listener. */
interface Served {
  readonly upgrades: Upgrades;
  readonly gate: Gate | undefined;
}

/** Answers an offered upgrade after all earlier requests of the connection. */
export function queueUpgrade(
  { upgrades, gate }: Served,
  connection: Connection,
  offer: OfferedUpgrade,
): void {
  const descriptors = connection.takeDescriptors();
  connection.enqueue(async () => {
    descriptors.close();
    const reply = gate?.answer(offer.request);
    if (reply !== undefined) return connection.closeWith(reply);
    connection.admit();
    // after the gate, which removes its own parameters from the query
    const target = upgradeTarget(upgrades, offer.request);
    if (target === undefined) connection.destroy();
    else await serveUpgrade(connection, target, offer);
  });
}

/** Makes a connection a WebSocket, or sends the error answer and ends the connection. */
async function serveUpgrade(
  connection: Connection,
  { name, query, accept }: UpgradeTarget,
  offer: OfferedUpgrade,
): Promise<void> {
  try {
    checkHandshake(offer.request);
    const ws = await loadWs();
    const start = await accept(query);
    const { channel, receive } = openWebSocket(ws, offer);
    connection.leaveHttp(() => channel.close(CLOSE_CODES.goingAway, 'The VMM exits'));
    receive(start(channel));
  } catch (error) {
    connection.closeWith(errorReply(name, error));
  }
}

/** Checks the client's part of a handshake (RFC 6455, section 4.2.1). @throws ApiError `bad-request` naming the header */
function checkHandshake(request: IncomingMessage): void {
  const { upgrade = '', 'sec-websocket-key': key = '', 'sec-websocket-version': version } = request.headers;
  if (request.httpVersion !== '1.1') throw refusal('HTTP version 1.1 is required');
  if (hasBody(request)) throw refusal('Request body must be empty');
  if (upgrade.toLowerCase() !== 'websocket') throw refusal('Upgrade must be websocket');
  if (version !== '13') throw refusal('Sec-WebSocket-Version must be 13');
  if (!/^[+/0-9A-Za-z]{22}==$/.test(key)) throw refusal('Sec-WebSocket-Key must be 16 bytes in base64');
}

function refusal(message: string): ApiError {
  return new ApiError('bad-request', message);
}
