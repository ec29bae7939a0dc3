import type { ConnectGuest, RenderCommand } from '../../guest/guest.ts';
import type { OpenImage } from '../../images/image.ts';
import type { GuestSetup } from '../plan-run.ts';
import type { GuestPlan, StartedGuest, StartOptions } from './start-guest.ts';

/** Kernel and initramfs of the guest tools. */
export interface ToolsFiles {
  /** Absolute path of a bzImage */
  readonly kernel: string;
  /** Absolute path */
  readonly initramfs: string;
}

/** Functions of other folders that a run uses; tests replace them. */
export interface RunParts {
  readonly openImage: OpenImage;
  readonly openTools: (options: { readonly signal: AbortSignal }) => Promise<ToolsFiles>;
  /** Words of the kernel's command line for the init of the tools */
  readonly toolsCommandLine: (setup: GuestSetup) => string;
  /** Renders commands for the SSH server of the tools */
  readonly render: RenderCommand;
  /** Text for the shell of the tools: an SSH server for one connection on its standard streams */
  readonly sshServer: string;
  readonly connect: ConnectGuest;
  readonly start: (plan: GuestPlan, options: StartOptions) => Promise<StartedGuest>;
}
