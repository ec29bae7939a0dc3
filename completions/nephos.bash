# Completion of nephos for bash: made by scripts/manual.ts, not to be edited.

# Prints the candidates at a place, a sub-command or <sub-command>:<flag>: words, and keys that end in "=".
_nephos_words() {
  case $1 in
    '') echo 'run exec cp logs console ssh ssh-config ps inspect port stats events stop kill rm pause resume snapshot clone pool images pull rmi prune doctor setup completion' ;;
    run:--env-file) echo '<file>' ;;
    run:--network) echo 'none user' ;;
    run:--pull) echo 'missing always never' ;;
    run:--platform) echo 'linux/amd64 linux/arm64' ;;
    run:--kernel) echo '<file>' ;;
    run:--initramfs) echo '<file>' ;;
    run:--firmware) echo '<file>' ;;
    ps:--filter) echo 'name= state= label= image=' ;;
    ps:-f) echo 'name= state= label= image=' ;;
    ps:--format) echo 'table json' ;;
    stats:--format) echo 'table json' ;;
    events:--format) echo 'table json' ;;
    pool:--network) echo 'none user' ;;
    pool:--pull) echo 'missing always never' ;;
    pool:--platform) echo 'linux/amd64 linux/arm64' ;;
    pool:--kernel) echo '<file>' ;;
    pool:--format) echo 'table json' ;;
    images:--format) echo 'table json' ;;
    pull:--platform) echo 'linux/amd64 linux/arm64' ;;
    doctor:--format) echo 'table json' ;;
    run) echo '<image>' ;;
    exec) echo '<vm>' ;;
    cp) echo '<file>' ;;
    logs) echo '<vm>' ;;
    console) echo '<vm>' ;;
    ssh) echo '<vm>' ;;
    ssh-config) echo '<vm>' ;;
    inspect) echo '<vm>' ;;
    port) echo '<vm>' ;;
    stats) echo '<vm>' ;;
    events) echo '<vm>' ;;
    stop) echo '<vm>' ;;
    kill) echo '<vm>' ;;
    rm) echo '<vm>' ;;
    pause) echo '<vm>' ;;
    resume) echo '<vm>' ;;
    snapshot) echo '<vm>' ;;
    clone) echo '<vm>' ;;
    pool) echo 'start ls stop' ;;
    rmi) echo '<image>' ;;
    completion) echo 'bash zsh fish' ;;
  esac
}

# Prints the values of a key at a place.
_nephos_values() {
  case $1:$2 in
  esac
}

_nephos_flags() {
  echo '--help -h --version -V'
  case $1 in
    run) echo '--interactive -i --tty -t --detach -d --rm --name --hostname --env -e --env-file --workdir -w --user -u --entrypoint --volume -v --publish -p --network --cpus --memory -m --timeout --label -l --pull --platform --cold --kernel --initramfs --append --firmware --help -h' ;;
    exec) echo '--interactive -i --tty -t --env -e --workdir -w --user -u --timeout --help -h' ;;
    cp) echo '--help -h' ;;
    logs) echo '--follow -f --tail -n --timestamps --serial --help -h' ;;
    console) echo '--help -h' ;;
    ssh) echo '--user -l --help -h' ;;
    ssh-config) echo '--user -l --help -h' ;;
    ps) echo '--all -a --quiet -q --filter -f --format --help -h' ;;
    inspect) echo '--help -h' ;;
    port) echo '--help -h' ;;
    stats) echo '--no-stream --format --help -h' ;;
    events) echo '--format --help -h' ;;
    stop) echo '--time -t --help -h' ;;
    kill) echo '--signal -s --help -h' ;;
    rm) echo '--force -f --help -h' ;;
    pause) echo '--help -h' ;;
    resume) echo '--help -h' ;;
    snapshot) echo '--compose --disks --help -h' ;;
    clone) echo '--help -h' ;;
    pool) echo '--size --idle --network --cpus --memory -m --pull --platform --kernel --append --format --help -h' ;;
    images) echo '--quiet -q --format --help -h' ;;
    pull) echo '--platform --quiet -q --help -h' ;;
    rmi) echo '--force -f --help -h' ;;
    prune) echo '--all -a --force -f --help -h' ;;
    doctor) echo '--format --help -h' ;;
    setup) echo '--refresh --help -h' ;;
    completion) echo '--help -h' ;;
  esac
}

# Succeeds if the next word is the value of this flag of a sub-command.
_nephos_takes_value() {
  case $2:$1 in
    run:--name | run:--hostname | run:--env | run:-e | run:--env-file | run:--workdir | run:-w | run:--user | run:-u | run:--entrypoint | run:--volume | run:-v | run:--publish | run:-p | run:--network | run:--cpus | run:--memory | run:-m | run:--timeout | run:--label | run:-l | run:--pull | run:--platform | run:--kernel | run:--initramfs | run:--append | run:--firmware | exec:--env | exec:-e | exec:--workdir | exec:-w | exec:--user | exec:-u | exec:--timeout | logs:--tail | logs:-n | ssh:--user | ssh:-l | ssh-config:--user | ssh-config:-l | ps:--filter | ps:-f | ps:--format | stats:--format | events:--format | stop:--time | stop:-t | kill:--signal | kill:-s | pool:--size | pool:--idle | pool:--network | pool:--cpus | pool:--memory | pool:-m | pool:--pull | pool:--platform | pool:--kernel | pool:--append | pool:--format | images:--format | pull:--platform | doctor:--format) return 0 ;;
  esac
  return 1
}

_nephos() {
  local line=${COMP_LINE:0:COMP_POINT} place='' last='' head='' word typed rest key one list
  local -a words
  COMPREPLY=()
  typed=${line##*[[:blank:]]}
  read -ra words <<<"${line%"$typed"}"
  for word in "${words[@]:1}"; do
    if _nephos_takes_value "$last" "$place"; then last=''
    elif [[ $word == -* ]]; then last=$word
    else place=${place:-$word} last=''; fi
  done
  if _nephos_takes_value "$last" "$place"; then place=$place:$last; fi
  rest=$typed
  if [[ $typed == --*=* ]]; then
    place=$place:${typed%%=*} rest=${typed#*=} head=${typed%%=*}=
  elif [[ $typed == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$(_nephos_flags "$place")" -- "$typed")
    return
  fi
  key=${rest##*,}
  head+=${rest%"$key"} rest=$key
  list=$(_nephos_words "$place")
  if [[ $list == *=* ]]; then compopt -o nospace 2>/dev/null; fi
  if [[ $rest == *=* ]]; then
    key=${rest%%=*} rest=${rest#*=} head+=$key=
    list=$(_nephos_values "$place" "$key")
  fi
  _nephos_list
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

# Replaces the placeholders of names.
_nephos_list() {
  if [[ " $list " == *' <vm> '* ]]; then list="${list//'<vm>'/} $(nephos ps -aq 2>/dev/null)"; fi
  if [[ " $list " == *' <image> '* ]]; then list="${list//'<image>'/} $(nephos images -q 2>/dev/null)"; fi
}
complete -F _nephos nephos
