import * as v from 'valibot';

/** First message: the source offers its VM. */
const OfferSchema = v.object({
  /** configuration, as in the request of vm.create */
  config: v.unknown(),
  /** see `SavedDescription` */
  machine: v.unknown(),
});
export type Offer = v.InferOutput<typeof OfferSchema>;

/** Answer of the destination: the reasons of a refusal, or none if its QEMU waits on the connection. */
const AnswerSchema = v.object({ refused: v.optional(v.array(v.string())) });
export type Answer = v.InferOutput<typeof AnswerSchema>;

/** Parses the first message. @throws Error if it is no offer */
export function parseOffer(message: unknown): Offer {
  return v.parse(OfferSchema, message);
}

/** Parses the answer. @throws Error if it is no answer */
export function parseAnswer(message: unknown): Answer {
  return v.parse(AnswerSchema, message);
}
