import * as v from 'valibot';

/** What the sender begins with. */
const OfferSchema = v.object({
  /** as vm.create takes it */
  config: v.unknown(),
  /** see `MachineDescription` */
  machine: v.unknown(),
});
export type Offer = v.InferOutput<typeof OfferSchema>;

/** What the receiver answers: its engine waits on the connection, or why it does not. */
const AnswerSchema = v.object({ refused: v.optional(v.array(v.string())) });
export type Answer = v.InferOutput<typeof AnswerSchema>;

/** @throws where it is something else */
export function parseOffer(message: unknown): Offer {
  return v.parse(OfferSchema, message);
}

/** @throws where it is something else */
export function parseAnswer(message: unknown): Answer {
  return v.parse(AnswerSchema, message);
}
