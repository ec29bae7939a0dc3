# Completion of cloud-hypervisor for bash: made by scripts/manual.ts, not to be edited.

# Prints the candidates at a place, a sub-command or <sub-command>:<flag>: words, and keys that end in "=".
_cloud_hypervisor_words() {
  case $1 in
    '') echo '' ;;
    *:--kernel) echo '<file>' ;;
    *:--firmware) echo '<file>' ;;
    *:--firmware-vars) echo '<file>' ;;
    *:--initramfs) echo '<file>' ;;
    *:--igvm) echo '<file>' ;;
    *:--fw-cfg-config) echo 'off kernel= cmdline= initramfs= acpi_table= items= file= string=' ;;
    *:--cpus) echo 'boot= max= topology= kvm_hyperv= max_phys_bits= affinity= nested= features=' ;;
    *:--memory) echo 'size= mergeable= hotplug_method= hotplug_size= hotplugged_size= shared= hugepages= hugepage_size= prefault= thp= reserve=' ;;
    *:--numa) echo 'guest_numa_id= cpus= distances= memory_zones= pci_segments= sgx_epc_sections=' ;;
    *:--platform) echo 'num_pci_segments= iommu_segments= serial_number= uuid= tdx= sev_snp= oem_strings= system_manufacturer= system_product_name= system_version= system_family= system_sku_number= chassis_asset_tag=' ;;
    *:--sgx-epc) echo 'id= size= prefault=' ;;
    *:--pci-segment) echo 'pci_segment=' ;;
    *:--rate-limit-group) echo 'id= bw_size= bw_one_time_burst= bw_refill_time= ops_size= ops_one_time_burst= ops_refill_time=' ;;
    *:--serial) echo 'off pty tty null file= socket= port= iommu= pci_device_id=' ;;
    *:--console) echo 'off pty tty null file= socket= port= iommu= pci_device_id=' ;;
    *:--debug-console) echo 'off pty tty null file= iobase=' ;;
    *:--disk) echo 'path= readonly= direct= iommu= num_queues= queue_size= vhost_user= socket= poll_queue= bw_size= bw_one_time_burst= bw_refill_time= ops_size= ops_one_time_burst= ops_refill_time= id= rate_limit_group= image_type= serial= backing_files= pci_segment= pci_device_id= queue_affinity= sparse= lock_granularity=' ;;
    *:--net) echo 'user tap= ip= mask= backend= mac= host_mac= iommu= num_queues= queue_size= vhost_user= socket= vhost_mode= id= fd= forward= mtu= bw_size= bw_one_time_burst= bw_refill_time= ops_size= ops_one_time_burst= ops_refill_time= pci_segment= pci_device_id= offload_tso= offload_ufo= offload_csum=' ;;
    *:--rng) echo 'src= iommu= pci_device_id=' ;;
    *:--fs) echo 'tag= socket= directory= readonly= cache= uid_map= gid_map= xattr= num_queues= queue_size= dax= cache_size= id= pci_segment= pci_device_id=' ;;
    *:--pmem) echo 'file= size= iommu= mergeable= discard_writes= id= pci_segment= pci_device_id=' ;;
    *:--vsock) echo 'cid= socket= iommu= id= pci_segment= pci_device_id=' ;;
    *:--balloon) echo 'size= deflate_on_oom= free_page_reporting= pci_device_id=' ;;
    *:--ivshmem) echo 'path= size= pci_segment= pci_device_id=' ;;
    *:--device) echo 'path= iommu= id= pci_segment= pci_device_id= x_nv_gpudirect_clique=' ;;
    *:--tpm) echo 'socket=' ;;
    *:--landlock-rules) echo 'path= access=' ;;
    *:--user-device) echo 'socket= id= pci_segment=' ;;
    *:--vdpa) echo 'path= num_queues= iommu= id= pci_segment=' ;;
    *:--generic-vhost-user) echo 'socket= device_type= queue_sizes= id= pci_segment=' ;;
    *:--memory-zone) echo 'id= size= file= mergeable= shared= hugepages= hugepage_size= host_numa_node= hotplug_size= hotplugged_size= prefault= thp= reserve=' ;;
    *:--api-socket) echo 'path= fd= <file>' ;;
    *:--event-monitor) echo 'path= fd=' ;;
    *:--metrics) echo 'path= <file>' ;;
    *:--web) echo 'path= fd=' ;;
    *:--restore) echo 'source_url= prefault= resume=' ;;
    *:--gdb) echo 'path=' ;;
    *:--on-panic) echo 'exit restart pause' ;;
    *:--on-reboot) echo 'exit restart pause' ;;
    *:--seccomp) echo 'true false log errno' ;;
    *:--log-file) echo '<file>' ;;
    *:--rtc) echo 'iommu=' ;;
  esac
}

# Prints the values of a key at a place.
_cloud_hypervisor_values() {
  case $1:$2 in
    *:--fw-cfg-config:kernel) echo 'on off' ;;
    *:--fw-cfg-config:cmdline) echo 'on off' ;;
    *:--fw-cfg-config:initramfs) echo 'on off' ;;
    *:--fw-cfg-config:acpi_table) echo 'on off' ;;
    *:--cpus:kvm_hyperv) echo 'on off' ;;
    *:--cpus:nested) echo 'on off' ;;
    *:--memory:mergeable) echo 'on off' ;;
    *:--memory:hotplug_method) echo 'acpi virtio-mem' ;;
    *:--memory:shared) echo 'on off' ;;
    *:--memory:hugepages) echo 'on off' ;;
    *:--memory:prefault) echo 'on off' ;;
    *:--memory:thp) echo 'on off' ;;
    *:--memory:reserve) echo 'on off' ;;
    *:--platform:tdx) echo 'on off' ;;
    *:--platform:sev_snp) echo 'on off' ;;
    *:--sgx-epc:prefault) echo 'on off' ;;
    *:--serial:file) echo '<file>' ;;
    *:--serial:socket) echo '<file>' ;;
    *:--serial:iommu) echo 'on off' ;;
    *:--console:file) echo '<file>' ;;
    *:--console:socket) echo '<file>' ;;
    *:--console:iommu) echo 'on off' ;;
    *:--debug-console:file) echo '<file>' ;;
    *:--disk:path) echo '<file>' ;;
    *:--disk:readonly) echo 'on off' ;;
    *:--disk:direct) echo 'on off' ;;
    *:--disk:iommu) echo 'on off' ;;
    *:--disk:vhost_user) echo 'on off' ;;
    *:--disk:socket) echo '<file>' ;;
    *:--disk:poll_queue) echo 'on off' ;;
    *:--disk:image_type) echo 'raw qcow2 vhdx unknown vhd' ;;
    *:--disk:backing_files) echo 'on off' ;;
    *:--disk:sparse) echo 'on off' ;;
    *:--disk:lock_granularity) echo 'full byte-range' ;;
    *:--net:backend) echo 'tap user' ;;
    *:--net:iommu) echo 'on off' ;;
    *:--net:vhost_user) echo 'on off' ;;
    *:--net:socket) echo '<file>' ;;
    *:--net:vhost_mode) echo 'client server' ;;
    *:--net:offload_tso) echo 'on off' ;;
    *:--net:offload_ufo) echo 'on off' ;;
    *:--net:offload_csum) echo 'on off' ;;
    *:--rng:src) echo '<file>' ;;
    *:--rng:iommu) echo 'on off' ;;
    *:--fs:socket) echo '<file>' ;;
    *:--fs:directory) echo '<file>' ;;
    *:--fs:readonly) echo 'on off' ;;
    *:--fs:cache) echo 'auto always never' ;;
    *:--fs:xattr) echo 'on off' ;;
    *:--fs:dax) echo 'on off' ;;
    *:--pmem:file) echo '<file>' ;;
    *:--pmem:iommu) echo 'on off' ;;
    *:--pmem:mergeable) echo 'on off' ;;
    *:--pmem:discard_writes) echo 'on off' ;;
    *:--vsock:socket) echo '<file>' ;;
    *:--vsock:iommu) echo 'on off' ;;
    *:--balloon:deflate_on_oom) echo 'on off' ;;
    *:--balloon:free_page_reporting) echo 'on off' ;;
    *:--ivshmem:path) echo '<file>' ;;
    *:--device:path) echo '<file>' ;;
    *:--device:iommu) echo 'on off' ;;
    *:--tpm:socket) echo '<file>' ;;
    *:--landlock-rules:path) echo '<file>' ;;
    *:--landlock-rules:access) echo 'r w rw' ;;
    *:--user-device:socket) echo '<file>' ;;
    *:--vdpa:path) echo '<file>' ;;
    *:--vdpa:iommu) echo 'on off' ;;
    *:--generic-vhost-user:socket) echo '<file>' ;;
    *:--memory-zone:file) echo '<file>' ;;
    *:--memory-zone:mergeable) echo 'on off' ;;
    *:--memory-zone:shared) echo 'on off' ;;
    *:--memory-zone:hugepages) echo 'on off' ;;
    *:--memory-zone:prefault) echo 'on off' ;;
    *:--memory-zone:thp) echo 'on off' ;;
    *:--memory-zone:reserve) echo 'on off' ;;
    *:--api-socket:path) echo '<file>' ;;
    *:--event-monitor:path) echo '<file>' ;;
    *:--metrics:path) echo '<file>' ;;
    *:--web:path) echo '<file>' ;;
    *:--restore:prefault) echo 'on off' ;;
    *:--restore:resume) echo 'on off' ;;
    *:--gdb:path) echo '<file>' ;;
    *:--rtc:iommu) echo 'on off' ;;
  esac
}

_cloud_hypervisor_flags() {
  echo '--kernel --firmware --firmware-vars --initramfs --cmdline --igvm --host-data --fw-cfg-config --cpus --memory --numa --platform --sgx-epc --pci-segment --rate-limit-group --serial --console --debug-console --disk --net --rng --fs --pmem --vsock --balloon --watchdog --pvpanic --ivshmem --device --tpm --landlock --landlock-rules --user-device --vdpa --generic-vhost-user --pvmemcontrol --memory-zone --api-socket --event-monitor --metrics --web --restore --gdb --no-shutdown --spare-thread --on-panic --on-reboot --seccomp --user --log-file --log-format --rtc --verbose -v --help -h --version -V'
  case $1 in
  esac
}

# Succeeds if the next word is the value of this flag of a sub-command.
_cloud_hypervisor_takes_value() {
  case $2:$1 in
    *:--kernel | *:--firmware | *:--firmware-vars | *:--initramfs | *:--cmdline | *:--igvm | *:--host-data | *:--fw-cfg-config | *:--cpus | *:--memory | *:--numa | *:--platform | *:--sgx-epc | *:--pci-segment | *:--rate-limit-group | *:--serial | *:--console | *:--debug-console | *:--disk | *:--net | *:--rng | *:--fs | *:--pmem | *:--vsock | *:--balloon | *:--ivshmem | *:--device | *:--tpm | *:--landlock-rules | *:--user-device | *:--vdpa | *:--generic-vhost-user | *:--memory-zone | *:--api-socket | *:--event-monitor | *:--metrics | *:--web | *:--restore | *:--gdb | *:--on-panic | *:--on-reboot | *:--seccomp | *:--user | *:--log-file | *:--log-format | *:--rtc) return 0 ;;
  esac
  return 1
}

_cloud_hypervisor() {
  local line=${COMP_LINE:0:COMP_POINT} place='' last='' head='' word typed rest key one list
  local -a words
  COMPREPLY=()
  typed=${line##*[[:blank:]]}
  read -ra words <<<"${line%"$typed"}"
  for word in "${words[@]:1}"; do
    [[ $word != -* ]] || last=$word
  done
  if _cloud_hypervisor_takes_value "$last" "$place"; then place=$place:$last; fi
  rest=$typed
  if [[ $typed == --*=* ]]; then
    place=$place:${typed%%=*} rest=${typed#*=} head=${typed%%=*}=
  elif [[ $typed == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$(_cloud_hypervisor_flags "$place")" -- "$typed")
    return
  fi
  key=${rest##*,}
  head+=${rest%"$key"} rest=$key
  list=$(_cloud_hypervisor_words "$place")
  if [[ $list == *=* ]]; then compopt -o nospace 2>/dev/null; fi
  if [[ $rest == *=* ]]; then
    key=${rest%%=*} rest=${rest#*=} head+=$key=
    list=$(_cloud_hypervisor_values "$place" "$key")
  fi
  if [[ " $list " == *' <file> '* ]]; then
    # as file names, keys would be quoted
    if [[ $list != *=* ]]; then compopt -o filenames 2>/dev/null; fi
    mapfile -t COMPREPLY < <(compgen -f -- "$rest")
    list=${list%<file>}
  fi
  mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -W "$list" -- "$rest")
  one=${typed%"${typed##*[=:]}"}
  if [[ $COMP_WORDBREAKS != *=* ]]; then one=''; fi
  COMPREPLY=("${COMPREPLY[@]/#/$head}")
  COMPREPLY=("${COMPREPLY[@]#"$one"}")
}
complete -F _cloud_hypervisor cloud-hypervisor
