/** What is known of a device that another process serves. */
export interface BackEndFacts {
  /** path of the socket at which the VMM connects the back-end to QEMU */
  readonly frontEnd: string;
}
