"""Calls a VMM on the socket argv[1] through the client that openapi-python-client makes, with a disk's image argv[2]."""

import json
import sys

import httpx
from client.api.default import boot_vm, get_vm_counters, get_vm_info, get_vmm_ping, put_vm_add_disk
from client.client import Client
from client.models.disk_config import DiskConfig

transport = httpx.HTTPTransport(uds=sys.argv[1])
client = Client(base_url="http://localhost/api/v1", httpx_args={"transport": transport}, raise_on_unexpected_status=False)
disk = DiskConfig.from_dict({"path": sys.argv[2], "id": "made"})


def messages(response):
    """Returns how many messages an error has; -1 where the document has no schema for it."""
    return -1 if response.parsed is None else len(response.parsed)


ping = get_vmm_ping.sync(client=client)
info = get_vm_info.sync(client=client)
counters = get_vm_counters.sync(client=client)
added = put_vm_add_disk.sync(client=client, body=disk)
again = put_vm_add_disk.sync_detailed(client=client, body=disk)
boot = boot_vm.sync_detailed(client=client)
print(
    json.dumps(
        {
            "version": ping.version,
            "state": info.state.value,
            "nodes": len(info.device_tree.additional_properties),
            "counters": len(counters.additional_properties),
            "added": added.id,
            "taken": [again.status_code.value, messages(again)],
            "booted": [boot.status_code.value, messages(boot)],
        }
    )
)
