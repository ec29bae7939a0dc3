/** Removal of a vCPU that the guest has not confirmed; times are those of `performance.now()`. */
export interface VcpuRemoval {
  /** time of the last request to the guest */
  readonly asked: number;
  /** the guest has begun the ejection */
  readonly isAccepted: boolean;
  /** time since when QEMU lacks the vCPU; undefined: QEMU has it */
  readonly missingSince: number | undefined;
}
