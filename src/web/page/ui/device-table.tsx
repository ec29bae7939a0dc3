import { asRecord, asText, type Json, type JsonRecord } from '../model/json.ts';
import { formatBytes } from '../model/format.ts';
import { Section } from './section.tsx';
import { usePage, useVmm } from './use-page.ts';

/** The device tree of vm.info, with a button that removes a device. */
export function DeviceTable() {
  const { info, counters, document, phase } = usePage();
  const { send } = useVmm();
  const tree = Object.values(asRecord(info?.['device_tree'])).map(asRecord);
  const remove = document?.requests.find(({ name }) => name === REMOVE);
  const canRemove = phase !== undefined && remove?.phases.includes(phase) === true;
  if (tree.length === 0) return null;
  return (
    <Section id="devices" title="Devices">
      <div class="scroll" tabIndex={0} role="group" aria-label="Table of the devices">
        <table>
          <thead>
            <tr>
              <th scope="col">Device</th>
              <th scope="col">PCI address</th>
              <th scope="col">Transferred</th>
              <th scope="col">
                <span class="hidden">Remove</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {tree.filter(isDevice).map((node) => {
              const id = asText(node['id']);
              return (
                <tr key={id}>
                  <th scope="row">{id}</th>
                  <td>{addressOf(node, tree)}</td>
                  <td>{transferOf(asRecord(counters)[id])}</td>
                  <td>
                    <button
                      type="button"
                      disabled={!canRemove}
                      aria-label={`Remove ${id}`}
                      onClick={() => send(REMOVE, { id })}
                    >
                      Remove
                    </button>
                  </td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
    </Section>
  );
}

const REMOVE = 'vm.remove-device';

/** A node without a parent is the PCI function of its child. */
function isDevice(node: JsonRecord): boolean {
  const children = node['children'];
  return !Array.isArray(children) || children.length === 0;
}

/** The address is that of the device, or of the PCI function that is its parent. */
function addressOf(node: JsonRecord, tree: readonly JsonRecord[]): string {
  const id = asText(node['id']);
  const parent = tree.find(({ children }) => Array.isArray(children) && children.includes(id));
  const address = node['pci_bdf'] ?? parent?.['pci_bdf'] ?? '';
  // an integer is the slot times 8, in the dialect of July 2021
  return typeof address === 'number' ? `slot ${address / 8}` : asText(address);
}

function transferOf(counters: Json | undefined): string {
  const { read_bytes, write_bytes, rx_bytes, tx_bytes } = asRecord(counters);
  const into = read_bytes ?? rx_bytes;
  const out = write_bytes ?? tx_bytes;
  if (typeof into !== 'number' || typeof out !== 'number') return '';
  return `${formatBytes(into)} in, ${formatBytes(out)} out`;
}
