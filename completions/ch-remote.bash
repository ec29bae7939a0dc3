# Completion of ch-remote for bash: made by scripts/manual.ts, not to be edited.

# Prints the candidates at a place, a sub-command or <sub-command>:<flag>: words, and keys that end in "=".
_ch_remote_words() {
  case $1 in
    '') echo 'ping info counters events console create boot delete shutdown reboot pause resume power-button nmi shutdown-vmm add-device add-disk add-fs add-net add-pmem add-vsock add-user-device add-vdpa add-generic-vhost-user remove-device resize resize-disk resize-zone snapshot coredump restore send-migration receive-migration' ;;
    *:--api-socket) echo '<file>' ;;
    console) echo 'off pty tty null file= socket= port= iommu= pci_device_id=' ;;
    create) echo '<file>' ;;
    add-device) echo 'path= iommu= id= pci_segment= pci_device_id= x_nv_gpudirect_clique=' ;;
    add-disk) echo 'path= readonly= direct= iommu= num_queues= queue_size= vhost_user= socket= poll_queue= bw_size= bw_one_time_burst= bw_refill_time= ops_size= ops_one_time_burst= ops_refill_time= id= rate_limit_group= image_type= serial= backing_files= pci_segment= pci_device_id= queue_affinity= sparse= lock_granularity=' ;;
    add-fs) echo 'tag= socket= directory= readonly= cache= uid_map= gid_map= xattr= num_queues= queue_size= dax= cache_size= id= pci_segment= pci_device_id=' ;;
    add-net) echo 'user tap= ip= mask= backend= mac= host_mac= iommu= num_queues= queue_size= vhost_user= socket= vhost_mode= id= fd= forward= mtu= bw_size= bw_one_time_burst= bw_refill_time= ops_size= ops_one_time_burst= ops_refill_time= pci_segment= pci_device_id= offload_tso= offload_ufo= offload_csum=' ;;
    add-pmem) echo 'file= size= iommu= mergeable= discard_writes= id= pci_segment= pci_device_id=' ;;
    add-vsock) echo 'cid= socket= iommu= id= pci_segment= pci_device_id=' ;;
    add-user-device) echo 'socket= id= pci_segment=' ;;
    add-vdpa) echo 'path= num_queues= iommu= id= pci_segment=' ;;
    add-generic-vhost-user) echo 'socket= device_type= queue_sizes= id= pci_segment=' ;;
    restore) echo 'source_url= prefault= resume=' ;;
  esac
}

# Prints the values of a key at a place.
_ch_remote_values() {
  case $1:$2 in
    console:file) echo '<file>' ;;
    console:socket) echo '<file>' ;;
    console:iommu) echo 'on off' ;;
    add-device:path) echo '<file>' ;;
    add-device:iommu) echo 'on off' ;;
    add-disk:path) echo '<file>' ;;
    add-disk:readonly) echo 'on off' ;;
    add-disk:direct) echo 'on off' ;;
    add-disk:iommu) echo 'on off' ;;
    add-disk:vhost_user) echo 'on off' ;;
    add-disk:socket) echo '<file>' ;;
    add-disk:poll_queue) echo 'on off' ;;
    add-disk:image_type) echo 'raw qcow2 vhdx unknown vhd' ;;
    add-disk:backing_files) echo 'on off' ;;
    add-disk:sparse) echo 'on off' ;;
    add-disk:lock_granularity) echo 'full byte-range' ;;
    add-fs:socket) echo '<file>' ;;
    add-fs:directory) echo '<file>' ;;
    add-fs:readonly) echo 'on off' ;;
    add-fs:cache) echo 'auto always never' ;;
    add-fs:xattr) echo 'on off' ;;
    add-fs:dax) echo 'on off' ;;
    add-net:backend) echo 'tap user' ;;
    add-net:iommu) echo 'on off' ;;
    add-net:vhost_user) echo 'on off' ;;
    add-net:socket) echo '<file>' ;;
    add-net:vhost_mode) echo 'client server' ;;
    add-net:offload_tso) echo 'on off' ;;
    add-net:offload_ufo) echo 'on off' ;;
    add-net:offload_csum) echo 'on off' ;;
    add-pmem:file) echo '<file>' ;;
    add-pmem:iommu) echo 'on off' ;;
    add-pmem:mergeable) echo 'on off' ;;
    add-pmem:discard_writes) echo 'on off' ;;
    add-vsock:socket) echo '<file>' ;;
    add-vsock:iommu) echo 'on off' ;;
    add-user-device:socket) echo '<file>' ;;
    add-vdpa:path) echo '<file>' ;;
    add-vdpa:iommu) echo 'on off' ;;
    add-generic-vhost-user:socket) echo '<file>' ;;
    restore:prefault) echo 'on off' ;;
    restore:resume) echo 'on off' ;;
  esac
}

_ch_remote_flags() {
  echo '--help -h --version -V --api-socket'
  case $1 in
    events) echo '--follow' ;;
    console) echo '--device --read-only' ;;
    resize) echo '--cpus --memory --balloon' ;;
    resize-disk) echo '--disk --size' ;;
    resize-zone) echo '--id --size' ;;
    snapshot) echo '--disks --live --diff --compose' ;;
  esac
}

# Succeeds if the next word is the value of this flag of a sub-command.
_ch_remote_takes_value() {
  case $2:$1 in
    *:--api-socket | console:--device | resize:--cpus | resize:--memory | resize:--balloon | resize-disk:--disk | resize-disk:--size | resize-zone:--id | resize-zone:--size | snapshot:--disks) return 0 ;;
  esac
  return 1
}

_ch_remote() {
  local line=${COMP_LINE:0:COMP_POINT} place='' last='' head='' word typed rest key one list
  local -a words
  COMPREPLY=()
  typed=${line##*[[:blank:]]}
  read -ra words <<<"${line%"$typed"}"
  for word in "${words[@]:1}"; do
    if _ch_remote_takes_value "$last" "$place"; then last=''
    elif [[ $word == -* ]]; then last=$word
    else place=${place:-$word} last=''; fi
  done
  if _ch_remote_takes_value "$last" "$place"; then place=$place:$last; fi
  rest=$typed
  if [[ $typed == --*=* ]]; then
    place=$place:${typed%%=*} rest=${typed#*=} head=${typed%%=*}=
  elif [[ $typed == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$(_ch_remote_flags "$place")" -- "$typed")
    return
  fi
  key=${rest##*,}
  head+=${rest%"$key"} rest=$key
  list=$(_ch_remote_words "$place")
  if [[ $list == *=* ]]; then compopt -o nospace 2>/dev/null; fi
  if [[ $rest == *=* ]]; then
    key=${rest%%=*} rest=${rest#*=} head+=$key=
    list=$(_ch_remote_values "$place" "$key")
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
complete -F _ch_remote ch-remote
