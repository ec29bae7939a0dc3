import { beyond, later, optional, withoutEffect } from '../../schema/field.ts';
import { anyObject, list, nested } from '../../schema/kinds.ts';
import { defineDevice, hotAdd, hotAddTexts } from '../device.ts';
import { UNSUPPORTED, UserDeviceConfig, VdpaConfig, GenericVhostUserConfig } from './config.ts';

export const userDevice = defineDevice({
  member: 'user_devices',
  field: beyond(later(optional(list(nested(UserDeviceConfig))), UNSUPPORTED.user_devices)),
  struct: UserDeviceConfig,
  many: true,
  order: { slot: 270, config: 240, words: 190, route: 80, command: 70 },
  flag: 'user-device',
  ids: undefined,
  takesSlot: false,
  removable: false,
  hotAdd: hotAdd({
    route: 'vm.add-user-device',
    request: UserDeviceConfig,
    texts: hotAddTexts('userspace device', 'device'),
    unsupported: UNSUPPORTED.user_devices,
    command: { usage: '<device_config>', summary: 'Add userspace device', noun: 'user device' },
  }),
});

export const vdpa = defineDevice({
  member: 'vdpa',
  field: beyond(later(optional(list(nested(VdpaConfig))), UNSUPPORTED.vdpa)),
  struct: VdpaConfig,
  many: true,
  order: { slot: 280, config: 250, words: 200, route: 90, command: 80 },
  flag: 'vdpa',
  ids: undefined,
  takesSlot: false,
  removable: false,
  hotAdd: hotAdd({
    route: 'vm.add-vdpa',
    request: VdpaConfig,
    texts: hotAddTexts('vDPA device', 'device'),
    unsupported: UNSUPPORTED.vdpa,
    command: { usage: '<vdpa_config>', summary: 'Add vDPA device', noun: 'vdpa' },
  }),
});

export const genericVhostUser = defineDevice({
  member: 'generic_vhost_user',
  aliases: ['generic-vhost-user'],
  field: beyond(later(optional(list(nested(GenericVhostUserConfig))), UNSUPPORTED.generic_vhost_user)),
  struct: GenericVhostUserConfig,
  many: true,
  order: { slot: 290, config: 260, words: 210, route: 100, command: 90 },
  flag: 'generic-vhost-user',
  ids: undefined,
  takesSlot: false,
  removable: false,
  hotAdd: hotAdd({
    route: 'vm.add-generic-vhost-user',
    request: GenericVhostUserConfig,
    texts: hotAddTexts('generic vhost-user device', 'device'),
    unsupported: UNSUPPORTED.generic_vhost_user,
    command: {
      usage: '<generic_vhost_user_config>',
      summary: 'Add generic vhost-user device',
      noun: 'generic vhost-user',
    },
  }),
});

export const pvmemcontrol = defineDevice({
  member: 'pvmemcontrol',
  field: beyond(
    withoutEffect(
      optional(anyObject('A device by which the guest describes the use of its memory; without effect')),
      'QEMU has no such device',
    ),
  ),
  struct: undefined,
  many: false,
  order: { slot: 300, config: 340 },
  flag: 'pvmemcontrol',
  ids: undefined,
  takesSlot: false,
  removable: false,
});
