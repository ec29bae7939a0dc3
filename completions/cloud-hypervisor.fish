# Completion of cloud-hypervisor for fish: made by scripts/manual.ts, not to be edited.

function __cloud_hypervisor_value
    set -l typed (commandline -ct | string replace -r '^--[a-z-]+=' '')
    set -l piece (string replace -r '^.*,' '' -- $typed)
    set -l head (string replace -r '[^,]*$' '' -- $typed)
    for word in $argv
        set -l key (string replace '<file>' '' -- $word)
        if test $key = $word
            echo $head$word
        else if string match -q -- "$key*" $piece
            set -l file (string sub -s (math 1 + (string length -- $key)) -- $piece)
            for path in (__fish_complete_path $file)
                echo $head$key$path
            end
        else
            echo $head$key
        end
    end
end

complete -c cloud-hypervisor -f
complete -c cloud-hypervisor -l kernel -x -a '(__cloud_hypervisor_value "<file>")' -d 'Kernel (bzImage, or ELF with a PVH note) or firmware; a VM boots at once'
complete -c cloud-hypervisor -l firmware -x -a '(__cloud_hypervisor_value "<file>")' -d 'Firmware, or the name of one that the distribution has, e.g. OVMF; a VM boots at once'
complete -c cloud-hypervisor -l firmware-vars -x -a '(__cloud_hypervisor_value "<file>")' -d 'File that keeps the EFI variables of OVMF_CODE*.fd; made from the OVMF_VARS*.fd beside it; without it they are in memory until vm.delete'
complete -c cloud-hypervisor -l initramfs -x -a '(__cloud_hypervisor_value "<file>")' -d 'First file system of the kernel'
complete -c cloud-hypervisor -l cmdline -x -d 'Command line of the kernel'
complete -c cloud-hypervisor -l igvm -x -a '(__cloud_hypervisor_value "<file>")' -d 'IGVM file; refused: QEMU 10 cannot load IGVM files'
complete -c cloud-hypervisor -l host-data -x -d 'Data for a guest with SEV-SNP; refused'
complete -c cloud-hypervisor -l fw-cfg-config -x -a '(__cloud_hypervisor_value "off" "kernel=on" "kernel=off" "cmdline=on" "cmdline=off" "initramfs=on" "initramfs=off" "acpi_table=on" "acpi_table=off" "items=" "file=" "string=")' -d 'The firmware configuration device (fw_cfg), which the machine always has: further files in it'
complete -c cloud-hypervisor -l cpus -x -a '(__cloud_hypervisor_value "boot=" "max=" "topology=" "kvm_hyperv=on" "kvm_hyperv=off" "max_phys_bits=" "affinity=" "nested=on" "nested=off" "features=")' -d 'vCPUs: their number at boot, the largest number, and their topology'
complete -c cloud-hypervisor -l memory -x -a '(__cloud_hypervisor_value "size=" "mergeable=on" "mergeable=off" "hotplug_method=acpi" "hotplug_method=virtio-mem" "hotplug_size=" "hotplugged_size=" "shared=on" "shared=off" "hugepages=on" "hugepages=off" "hugepage_size=" "prefault=on" "prefault=off" "thp=on" "thp=off" "reserve=on" "reserve=off")' -d 'RAM of the guest'
complete -c cloud-hypervisor -l numa -x -a '(__cloud_hypervisor_value "guest_numa_id=" "cpus=" "distances=" "memory_zones=" "pci_segments=" "sgx_epc_sections=")' -d 'A NUMA node of the guest'
complete -c cloud-hypervisor -l platform -x -a '(__cloud_hypervisor_value "num_pci_segments=" "iommu_segments=" "serial_number=" "uuid=" "tdx=on" "tdx=off" "sev_snp=on" "sev_snp=off" "oem_strings=" "system_manufacturer=" "system_product_name=" "system_version=" "system_family=" "system_sku_number=" "chassis_asset_tag=")' -d 'Description of the machine for the guest (SMBIOS), and its PCI segments'
complete -c cloud-hypervisor -l sgx-epc -x -a '(__cloud_hypervisor_value "id=" "size=" "prefault=on" "prefault=off")' -d 'A section of SGX enclave memory'
complete -c cloud-hypervisor -l pci-segment -x -a '(__cloud_hypervisor_value "pci_segment=")' -d 'Share of a PCI segment in the address space for BARs; checked only'
complete -c cloud-hypervisor -l rate-limit-group -x -a '(__cloud_hypervisor_value "id=" "bw_size=" "bw_one_time_burst=" "bw_refill_time=" "ops_size=" "ops_one_time_burst=" "ops_refill_time=")' -d 'A rate limit that several disks share: those whose `rate_limit_group` is its id'
complete -c cloud-hypervisor -l serial -x -a '(__cloud_hypervisor_value "off" "pty" "tty" "null" "file=<file>" "socket=<file>" "port=" "iommu=on" "iommu=off" "pci_device_id=")' -d 'A console of the guest: off, on a new PTY, the VMM’s terminal, a file or a UNIX socket, or discarded'
complete -c cloud-hypervisor -l console -x -a '(__cloud_hypervisor_value "off" "pty" "tty" "null" "file=<file>" "socket=<file>" "port=" "iommu=on" "iommu=off" "pci_device_id=")' -d 'A console of the guest: off, on a new PTY, the VMM’s terminal, a file or a UNIX socket, or discarded'
complete -c cloud-hypervisor -l debug-console -x -a '(__cloud_hypervisor_value "off" "pty" "tty" "null" "file=<file>" "iobase=")' -d 'A debug port of the guest, which takes a byte with each write: for firmware and early kernels'
complete -c cloud-hypervisor -l disk -x -a '(__cloud_hypervisor_value "path=<file>" "readonly=on" "readonly=off" "direct=on" "direct=off" "iommu=on" "iommu=off" "num_queues=" "queue_size=" "vhost_user=on" "vhost_user=off" "socket=<file>" "poll_queue=on" "poll_queue=off" "bw_size=" "bw_one_time_burst=" "bw_refill_time=" "ops_size=" "ops_one_time_burst=" "ops_refill_time=" "id=" "rate_limit_group=" "image_type=raw" "image_type=qcow2" "image_type=vhdx" "image_type=unknown" "image_type=vhd" "serial=" "backing_files=on" "backing_files=off" "pci_segment=" "pci_device_id=" "queue_affinity=" "sparse=on" "sparse=off" "lock_granularity=full" "lock_granularity=byte-range")' -d 'A virtio-blk disk: an image on the host, or a vhost-user back-end'
complete -c cloud-hypervisor -l net -x -a '(__cloud_hypervisor_value "user" "tap=" "ip=" "mask=" "backend=tap" "backend=user" "mac=" "host_mac=" "iommu=on" "iommu=off" "num_queues=" "queue_size=" "vhost_user=on" "vhost_user=off" "socket=<file>" "vhost_mode=client" "vhost_mode=server" "id=" "fd=" "forward=" "mtu=" "bw_size=" "bw_one_time_burst=" "bw_refill_time=" "ops_size=" "ops_one_time_burst=" "ops_refill_time=" "pci_segment=" "pci_device_id=" "offload_tso=on" "offload_tso=off" "offload_ufo=on" "offload_ufo=off" "offload_csum=on" "offload_csum=off")' -d 'A virtio-net interface: a TAP of the host, passed descriptors, or a vhost-user back-end'
complete -c cloud-hypervisor -l rng -x -a '(__cloud_hypervisor_value "src=<file>" "iommu=on" "iommu=off" "pci_device_id=")' -d 'The virtio entropy device, which every VM has'
complete -c cloud-hypervisor -l fs -x -a '(__cloud_hypervisor_value "tag=" "socket=<file>" "directory=<file>" "readonly=on" "readonly=off" "cache=auto" "cache=always" "cache=never" "uid_map=" "gid_map=" "xattr=on" "xattr=off" "num_queues=" "queue_size=" "dax=on" "dax=off" "cache_size=" "id=" "pci_segment=" "pci_device_id=")' -d 'A virtio-fs share: a directory of the host, or a vhost-user daemon'
complete -c cloud-hypervisor -l pmem -x -a '(__cloud_hypervisor_value "file=<file>" "size=" "iommu=on" "iommu=off" "mergeable=on" "mergeable=off" "discard_writes=on" "discard_writes=off" "id=" "pci_segment=" "pci_device_id=")' -d 'A virtio-pmem device: a file of the host that the guest sees as persistent memory'
complete -c cloud-hypervisor -l vsock -x -a '(__cloud_hypervisor_value "cid=" "socket=<file>" "iommu=on" "iommu=off" "id=" "pci_segment=" "pci_device_id=")' -d 'Sockets between host and guest, over a UNIX socket of the host'
complete -c cloud-hypervisor -l balloon -x -a '(__cloud_hypervisor_value "size=" "deflate_on_oom=on" "deflate_on_oom=off" "free_page_reporting=on" "free_page_reporting=off" "pci_device_id=")' -d 'The virtio balloon, which reclaims RAM of the guest'
complete -c cloud-hypervisor -l watchdog -d 'A watchdog that restarts the VM when the guest no longer feeds it'
complete -c cloud-hypervisor -l pvpanic -d 'A device by which the guest’s kernel reports a panic'
complete -c cloud-hypervisor -l ivshmem -x -a '(__cloud_hypervisor_value "path=<file>" "size=" "pci_segment=" "pci_device_id=")' -d 'Memory that the guest shares with other guests and programs on the host: a file, seen as a BAR of a PCI device'
complete -c cloud-hypervisor -l device -x -a '(__cloud_hypervisor_value "path=<file>" "iommu=on" "iommu=off" "id=" "pci_segment=" "pci_device_id=" "x_nv_gpudirect_clique=")' -d 'A PCI device of the host, passed through to the guest (VFIO)'
complete -c cloud-hypervisor -l tpm -x -a '(__cloud_hypervisor_value "socket=<file>")' -d 'A TPM 2.0 of the guest (CRB), which swtpm on the host emulates'
complete -c cloud-hypervisor -l landlock -d 'Confine the VMM to the files of the VM; not applied'
complete -c cloud-hypervisor -l landlock-rules -x -a '(__cloud_hypervisor_value "path=<file>" "access=r" "access=w" "access=rw")' -d 'A path that may be used under Landlock; checked only'
complete -c cloud-hypervisor -l user-device -x -a '(__cloud_hypervisor_value "socket=<file>" "id=" "pci_segment=")' -d 'A PCI device that another process emulates (vfio-user); refused'
complete -c cloud-hypervisor -l vdpa -x -a '(__cloud_hypervisor_value "path=<file>" "num_queues=" "iommu=on" "iommu=off" "id=" "pci_segment=")' -d 'A virtio device that the host’s hardware serves (vDPA); refused'
complete -c cloud-hypervisor -l generic-vhost-user -x -a '(__cloud_hypervisor_value "socket=<file>" "device_type=" "queue_sizes=" "id=" "pci_segment=")' -d 'A virtio device of any kind that a vhost-user back-end serves; refused'
complete -c cloud-hypervisor -l pvmemcontrol -d 'A device by which the guest describes the use of its memory; without effect'
complete -c cloud-hypervisor -l memory-zone -x -a '(__cloud_hypervisor_value "id=" "size=" "file=<file>" "mergeable=on" "mergeable=off" "shared=on" "shared=off" "hugepages=on" "hugepages=off" "hugepage_size=" "host_numa_node=" "hotplug_size=" "hotplugged_size=" "prefault=on" "prefault=off" "thp=on" "thp=off" "reserve=on" "reserve=off")' -d 'A part of the RAM with a backing of its own; needs memory.size to be 0'
complete -c cloud-hypervisor -l api-socket -x -a '(__cloud_hypervisor_value "path=<file>" "fd=" "<file>")' -d 'Serve the API on a UNIX socket'
complete -c cloud-hypervisor -l event-monitor -x -a '(__cloud_hypervisor_value "path=<file>" "fd=")' -d 'Record lifecycle events of the VM as JSON; may be given several times'
complete -c cloud-hypervisor -l metrics -x -a '(__cloud_hypervisor_value "path=<file>" "<file>")' -d 'Serve metrics for Prometheus on a UNIX socket, at /metrics'
complete -c cloud-hypervisor -l web -x -a '(__cloud_hypervisor_value "path=<file>" "fd=")' -d 'Serve the API and a page for browsers; the log has its URL with a token. A bare port is one of 127.0.0.1, port 0 any free one'
complete -c cloud-hypervisor -l restore -x -a '(__cloud_hypervisor_value "source_url=" "prefault=on" "prefault=off" "resume=on" "resume=off")' -d 'Restore a VM from a snapshot'
complete -c cloud-hypervisor -l gdb -x -a '(__cloud_hypervisor_value "path=<file>")' -d 'Listen for GDB on a UNIX socket; a VM of the command line waits for it'
complete -c cloud-hypervisor -l no-shutdown -d 'Keep running after the guest powers off: the VM is Shutdown and can boot again'
complete -c cloud-hypervisor -l spare-thread -d 'Keep a thread ready while there is no VM: a VM with a vsock or a shared directory is restored faster; takes 7 MiB'
complete -c cloud-hypervisor -l on-panic -x -a '(__cloud_hypervisor_value "exit" "restart" "pause")' -d 'After a panic of the guest’s kernel: exit with code 1, reboot, or pause the VM; needs --pvpanic. Without this flag the guest decides'
complete -c cloud-hypervisor -l on-reboot -x -a '(__cloud_hypervisor_value "exit" "restart" "pause")' -d 'After a reset by the guest: exit with code 0 (1 after a panic or a watchdog), reboot, or reboot and pause'
complete -c cloud-hypervisor -l seccomp -x -a '(__cloud_hypervisor_value "true" "false" "log" "errno")' -d 'Confine QEMU with seccomp (log: no filter, because QEMU has no such mode; errno: as true)'
complete -c cloud-hypervisor -l user -x -d 'Run QEMU as another user, with the rights of that user; needs root'
complete -c cloud-hypervisor -l log-file -x -a '(__cloud_hypervisor_value "<file>")' -d 'Write the log to a file instead of standard error'
complete -c cloud-hypervisor -l log-format -x -d 'Ignored: the log has one format'
complete -c cloud-hypervisor -l rtc -x -a '(__cloud_hypervisor_value "iommu=on" "iommu=off")' -d 'Ignored: QEMU has no virtio-rtc device'
complete -c cloud-hypervisor -l verbose -s v -d 'Log more: -v info, -vv debug, -vvv trace'
complete -c cloud-hypervisor -l help -s h -d 'Show this help'
complete -c cloud-hypervisor -l version -s V -d 'Show the version'
