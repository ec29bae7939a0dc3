import { ApiError } from '../../api/errors.ts';
import type { FwCfgItem } from '../../devices/payload/fw-cfg.ts';
import type { MachinePlan } from '../../devices/common/machine-plan.ts';
import type { PayloadConfig } from '../../devices/payload/config.ts';
import { createMemfd } from '../../native/memfd.ts';
import { reasonOf } from '../../util/errno.ts';
import { openFile } from '../../util/open-file.ts';

/** Files of QEMU's firmware configuration device, until QEMU has read them. */
export interface FwCfgFiles extends AsyncDisposable {
  readonly items: MachinePlan['fwCfg'];
  /** file descriptors, by the paths in `items` */
  readonly fds: ReadonlyMap<string, number>;
}

/** Opens the items of a payload as files, so that no user text is part of a QEMU option. Rejects with ApiError naming the item. */
export async function openFwCfg(payload: PayloadConfig | undefined): Promise<FwCfgFiles> {
  const files: (OpenItem & { readonly name: string })[] = [];
  const close = async (): Promise<void> => {
    for (const file of files) await file.close();
  };
  try {
    for (const item of payload?.fw_cfg_config?.items?.item_list ?? []) {
      files.push({ name: item.name, ...(await openItem(item)) });
    }
  } catch (error) {
    await close();
    throw error;
  }
  return {
    items: files.map(({ name, path }) => ({ name, file: path })),
    fds: new Map(files.map(({ path, fd }) => [path, fd])),
    [Symbol.asyncDispose]: close,
  };
}

interface OpenItem {
  readonly path: string;
  readonly fd: number;
  readonly close: () => Promise<void>;
}

async function openItem({ name, file, string = '' }: FwCfgItem): Promise<OpenItem> {
  try {
    if (file !== undefined) {
      const opened = await openFile(file);
      // the descriptor makes the name unique: two items may have the same file
      return { path: `${file}#${opened.fd}`, fd: opened.fd, close: () => opened.close() };
    }
    const text = await createMemfd('fw_cfg', string);
    return { path: text.path, fd: text.fd, close: async () => text[Symbol.dispose]() };
  } catch (error) {
    throw new ApiError('failed', `fw_cfg ${name}: ${file ?? 'string'}: ${reasonOf(error)}`, { cause: error });
  }
}
