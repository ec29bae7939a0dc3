/** The address that a host of {@link answerTo} has on its network. */
const MAC = Buffer.from('52540000fe01', 'hex');
const ARP = 0x0806;
const IPV4 = 0x0800;
const ICMP = 1;
const ECHO_REQUEST = 8;

/** Answer of a host with this address to an Ethernet frame: to ARP and ICMP echo requests only. */
export function answerTo(frame: Buffer, address: string): Buffer | undefined {
  const own = Buffer.from(address.split('.').map(Number));
  if (frame.length < 42) return undefined;
  if (frame.readUInt16BE(12) === ARP) return arp(frame, own);
  const isEcho = frame.readUInt16BE(12) === IPV4 && frame[23] === ICMP && frame[34] === ECHO_REQUEST;
  return isEcho && frame.subarray(30, 34).equals(own) ? echo(frame) : undefined;
}

function arp(frame: Buffer, own: Buffer): Buffer | undefined {
  const isRequest = frame.readUInt16BE(20) === 1;
  if (!isRequest || !frame.subarray(38, 42).equals(own)) return undefined;
  const [asker, askersAddress] = [frame.subarray(22, 28), frame.subarray(28, 32)];
  const head = Buffer.from('08060001080006040002', 'hex');
  return Buffer.concat([asker, MAC, head, MAC, own, asker, askersAddress]);
}

/** The same with both ends exchanged; IP's checksum stays the same, ICMP's changes with the type alone. */
function echo(frame: Buffer): Buffer {
  const answer = Buffer.from(frame);
  frame.copy(answer, 0, 6, 12);
  MAC.copy(answer, 6);
  frame.copy(answer, 26, 30, 34);
  frame.copy(answer, 30, 26, 30);
  answer[34] = 0;
  const sum = frame.readUInt16BE(36) + (ECHO_REQUEST << 8);
  answer.writeUInt16BE((sum & 0xffff) + (sum >> 16), 36);
  return answer;
}
