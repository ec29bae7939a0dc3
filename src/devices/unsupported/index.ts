import { beyond, later, optional, withoutEffect } from '../../schema/field.ts';
import { anyObject, list, nested } from '../../schema/kinds.ts';
import { defineDevice } from '../device.ts';
import { NOT_IN_ENGINE, UserDeviceConfig, VdpaConfig, GenericVhostUserConfig } from './config.ts';

export const userDevice = defineDevice({
  member: 'user_devices',
  field: beyond(later(optional(list(nested(UserDeviceConfig))), NOT_IN_ENGINE.user_devices)),
  struct: UserDeviceConfig,
  many: true,
  flag: 'user-device',
  ids: undefined,
  takesSlot: false,
  removable: false,
});

export const vdpa = defineDevice({
  member: 'vdpa',
  field: beyond(later(optional(list(nested(VdpaConfig))), NOT_IN_ENGINE.vdpa)),
  struct: VdpaConfig,
  many: true,
  flag: 'vdpa',
  ids: undefined,
  takesSlot: false,
  removable: false,
});

export const genericVhostUser = defineDevice({
  member: 'generic_vhost_user',
  field: beyond(later(optional(list(nested(GenericVhostUserConfig))), NOT_IN_ENGINE.generic_vhost_user)),
  struct: GenericVhostUserConfig,
  many: true,
  flag: 'generic-vhost-user',
  ids: undefined,
  takesSlot: false,
  removable: false,
});

export const pvmemcontrol = defineDevice({
  member: 'pvmemcontrol',
  field: beyond(
    withoutEffect(
      optional(anyObject('A device by which the guest says what its memory is for; it gets none')),
      'QEMU has no such device: the guest goes without',
    ),
  ),
  struct: undefined,
  many: false,
  flag: 'pvmemcontrol',
  ids: undefined,
  takesSlot: false,
  removable: false,
});
