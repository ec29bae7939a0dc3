/**
 * Reason of an {@link ImageError}.
 *
 * - `bad-name`: the text is neither a path nor a reference
 * - `not-found`: no such image, tag, file or platform
 * - `denied`: the registry refuses the credentials, or asks for some
 * - `unreachable`: the registry cannot be reached, or does not answer in time
 * - `invalid`: the image breaks its specification, or a digest or size is wrong
 * - `too-large`: a bound of Nephos or the space of the host
 * - `in-use`: a VM or another process uses it
 * - `store`: the store on this host cannot be used
 * - `aborted`: the caller's signal
 */
export type ImageFault =
  | 'bad-name'
  | 'not-found'
  | 'denied'
  | 'unreachable'
  | 'invalid'
  | 'too-large'
  | 'in-use'
  | 'store'
  | 'aborted';

/** An image that cannot be used. The message is `image <name>: <reason>; <remedy>`. */
export class ImageError extends Error {
  override readonly name = 'ImageError';
  readonly fault: ImageFault;
  /** Name of the image, as the user gave it */
  readonly image: string;

  constructor(fault: ImageFault, image: string, reason: string, options?: ErrorOptions) {
    // texts of a hostile image must not control the terminal
    super(`image ${image}: ${reason}`.replaceAll(/\p{Cc}/gu, '?'), options);
    this.fault = fault;
    this.image = image;
  }
}
