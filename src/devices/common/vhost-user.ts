/** Host facts of a device that a vhost-user back-end serves. */
export interface BackEndFacts {
  /** path of the socket at which the VMM connects the back-end to QEMU */
  readonly frontEnd: string;
}
