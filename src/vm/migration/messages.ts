import * as v from 'valibot';

/** First message: the source offers its VM. */
const OfferSchema = v.object({
  /** as vm.create takes it */
  config: v.unknown(),
  /** see `SavedDescription` */
  machine: v.unknown(),
});
export type Offer = v.InferOutput<typeof OfferSchema>;

/** Answer of the destination: its QEMU waits on the connection, or the reasons why it refuses the VM. */
const AnswerSchema = v.object({ refused: v.optional(v.array(v.string())) });
export type Answer = v.InferOutput<typeof AnswerSchema>;

/** Parses the first message. @throws Error where it is another one */
export function parseOffer(message: unknown): Offer {
  return v.parse(OfferSchema, message);
}

/** Parses the answer. @throws Error where it is another one */
export function parseAnswer(message: unknown): Answer {
  return v.parse(AnswerSchema, message);
}
