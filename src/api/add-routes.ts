import type { HotAdd } from '../devices/device.ts';
import { devicesInOrder, positionIn, type HotAddOfKind } from '../devices/table.ts';
import { PciDeviceInfo } from './replies.ts';
import type { RouteDefinition } from './route.ts';
import { WITH_VM } from './route-kinds.ts';

/*
 * Requests that add a device: to the configuration before the first boot, to the running guest afterwards. A kind of device that
 * supports it has `hotAdd`.
 */

/** Route of an add request; one of an unsupported device has no handler. */
type AddRoute<A extends HotAddOfKind> = RouteDefinition<
  A['request'],
  typeof PciDeviceInfo,
  [NonNullable<A['unsupported']>] extends [never] ? true : false
> & { readonly replyAfterBoot: true };

/** Routes of all add requests, by name. */
export type AddRoutes = { readonly [A in HotAddOfKind as A['route']]: AddRoute<A> };

/** Name of a request that adds a device. */
export type AddRouteName = keyof AddRoutes;

/** Returns the routes of all add requests in the order of the document, with their positions in it. */
export function addRoutes(): { name: string; position: number; route: RouteDefinition }[] {
  return devicesInOrder('route').flatMap((device) => {
    const { hotAdd } = device;
    if (hotAdd === undefined) return [];
    return [{ name: hotAdd.route, position: positionIn('route', device), route: routeOf(hotAdd) }];
  });
}

function routeOf({ request, texts, unsupported, inContract = false }: HotAdd): RouteDefinition {
  const { summary, requestDoc } = texts;
  const shared = {
    summary,
    requestDoc,
    method: 'PUT',
    body: 'required',
    request,
    reply: PciDeviceInfo,
    replyAfterBoot: true,
    phases: WITH_VM,
    ...(inContract ? {} : { beyond: true }),
  } as const;
  // answered 501 with the reason; the body is ignored
  if (unsupported !== undefined) return { ...shared, answers: { 501: unsupported }, implemented: false };
  return {
    ...shared,
    asynchronous: true,
    answers: texts.answers,
    furtherAnswers: { 409: 'The id of the device is taken.' },
    implemented: true,
  };
}
