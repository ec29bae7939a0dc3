# Completion of nephos for fish: made by scripts/manual.ts, not to be edited.

function __nephos_value
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

complete -c nephos -f
complete -c nephos -l help -s h -d 'Show this help'
complete -c nephos -l version -s V -d 'Show the version'
complete -c nephos -n 'not __fish_seen_subcommand_from run ssh ssh-config ps inspect port stats stop kill rm pause resume snapshot doctor completion' -a run -d 'Run a command in a fresh VM'
complete -c nephos -n '__fish_seen_subcommand_from run' -a '(__nephos_value (nephos images -q 2>/dev/null))'
complete -c nephos -n '__fish_seen_subcommand_from run' -l interactive -s i -d 'Pass standard input to the command'
complete -c nephos -n '__fish_seen_subcommand_from run' -l tty -s t -d 'Give the command a terminal'
complete -c nephos -n '__fish_seen_subcommand_from run' -l detach -s d -d 'Run in the background, print the name of the VM'
complete -c nephos -n '__fish_seen_subcommand_from run' -l rm -d 'Remove the VM when its command has ended'
complete -c nephos -n '__fish_seen_subcommand_from run' -l name -x -d 'Name of the VM; a random one by default'
complete -c nephos -n '__fish_seen_subcommand_from run' -l hostname -x -d 'Host name of the guest; the name of the VM by default'
complete -c nephos -n '__fish_seen_subcommand_from run' -l env -s e -x -d 'Variable; without a value that of the host'
complete -c nephos -n '__fish_seen_subcommand_from run' -l env-file -x -a '(__nephos_value "<file>")' -d 'File with variables, one a line'
complete -c nephos -n '__fish_seen_subcommand_from run' -l workdir -s w -x -d 'Working directory'
complete -c nephos -n '__fish_seen_subcommand_from run' -l user -s u -x -d 'User of the guest'
complete -c nephos -n '__fish_seen_subcommand_from run' -l entrypoint -x -d 'Replace the image’s entry point'
complete -c nephos -n '__fish_seen_subcommand_from run' -l volume -s v -x -d 'Share a directory of the host'
complete -c nephos -n '__fish_seen_subcommand_from run' -l publish -s p -x -d 'Forward a port of the host; 0: a free one'
complete -c nephos -n '__fish_seen_subcommand_from run' -l network -x -a '(__nephos_value "none" "user")' -d 'Network of the guest; user: through the host, without privileges'
complete -c nephos -n '__fish_seen_subcommand_from run' -l cpus -x -d 'Number of vCPUs'
complete -c nephos -n '__fish_seen_subcommand_from run' -l memory -s m -x -d 'RAM'
complete -c nephos -n '__fish_seen_subcommand_from run' -l timeout -x -d 'Time limit of the command, e.g. 30s, 5m; exit code 124'
complete -c nephos -n '__fish_seen_subcommand_from run' -l label -s l -x -d 'Label, for nephos ps --filter'
complete -c nephos -n '__fish_seen_subcommand_from run' -l pull -x -a '(__nephos_value "missing" "always" "never")' -d 'When to ask the registry'
complete -c nephos -n '__fish_seen_subcommand_from run' -l platform -x -a '(__nephos_value "linux/amd64" "linux/arm64")' -d 'Platform of the image'
complete -c nephos -n '__fish_seen_subcommand_from run' -l cold -d 'Boot without a warm snapshot, and keep none'
complete -c nephos -n '__fish_seen_subcommand_from run' -l kernel -x -a '(__nephos_value "<file>")' -d 'Kernel instead of that of Nephos or the image'
complete -c nephos -n '__fish_seen_subcommand_from run' -l initramfs -x -a '(__nephos_value "<file>")' -d 'Initramfs of the kernel'
complete -c nephos -n '__fish_seen_subcommand_from run' -l append -x -d 'Further words for the kernel’s command line'
complete -c nephos -n '__fish_seen_subcommand_from run' -l firmware -x -a '(__nephos_value "<file>")' -d 'UEFI firmware of a disk image'
complete -c nephos -n '__fish_seen_subcommand_from run' -l help -s h -d 'Show this help'
complete -c nephos -n 'not __fish_seen_subcommand_from run ssh ssh-config ps inspect port stats stop kill rm pause resume snapshot doctor completion' -a ssh -d 'Open a shell in a VM with the host’s ssh'
complete -c nephos -n '__fish_seen_subcommand_from ssh' -a '(__nephos_value (nephos ps -aq 2>/dev/null))'
complete -c nephos -n '__fish_seen_subcommand_from ssh' -l user -s l -x -d 'User of the guest'
complete -c nephos -n '__fish_seen_subcommand_from ssh' -l help -s h -d 'Show this help'
complete -c nephos -n 'not __fish_seen_subcommand_from run ssh ssh-config ps inspect port stats stop kill rm pause resume snapshot doctor completion' -a ssh-config -d 'Print settings for ssh, scp, rsync and VS Code'
complete -c nephos -n '__fish_seen_subcommand_from ssh-config' -a '(__nephos_value (nephos ps -aq 2>/dev/null))'
complete -c nephos -n '__fish_seen_subcommand_from ssh-config' -l user -s l -x -d 'User of the guest'
complete -c nephos -n '__fish_seen_subcommand_from ssh-config' -l help -s h -d 'Show this help'
complete -c nephos -n 'not __fish_seen_subcommand_from run ssh ssh-config ps inspect port stats stop kill rm pause resume snapshot doctor completion' -a ps -d 'List VMs'
complete -c nephos -n '__fish_seen_subcommand_from ps' -l all -s a -d 'Also show exited and crashed VMs'
complete -c nephos -n '__fish_seen_subcommand_from ps' -l quiet -s q -d 'Print names only'
complete -c nephos -n '__fish_seen_subcommand_from ps' -l filter -s f -x -a '(__nephos_value "name=" "state=" "label=" "image=")' -d 'Show VMs that match: a name (a part), state, label or image'
complete -c nephos -n '__fish_seen_subcommand_from ps' -l format -x -a '(__nephos_value "table" "json")' -d 'Form of the output'
complete -c nephos -n '__fish_seen_subcommand_from ps' -l help -s h -d 'Show this help'
complete -c nephos -n 'not __fish_seen_subcommand_from run ssh ssh-config ps inspect port stats stop kill rm pause resume snapshot doctor completion' -a inspect -d 'Print all facts about VMs as JSON'
complete -c nephos -n '__fish_seen_subcommand_from inspect' -a '(__nephos_value (nephos ps -aq 2>/dev/null))'
complete -c nephos -n '__fish_seen_subcommand_from inspect' -l help -s h -d 'Show this help'
complete -c nephos -n 'not __fish_seen_subcommand_from run ssh ssh-config ps inspect port stats stop kill rm pause resume snapshot doctor completion' -a port -d 'Print the published ports of a VM'
complete -c nephos -n '__fish_seen_subcommand_from port' -a '(__nephos_value (nephos ps -aq 2>/dev/null))'
complete -c nephos -n '__fish_seen_subcommand_from port' -l help -s h -d 'Show this help'
complete -c nephos -n 'not __fish_seen_subcommand_from run ssh ssh-config ps inspect port stats stop kill rm pause resume snapshot doctor completion' -a stats -d 'Show CPU, memory, disk and network use'
complete -c nephos -n '__fish_seen_subcommand_from stats' -a '(__nephos_value (nephos ps -aq 2>/dev/null))'
complete -c nephos -n '__fish_seen_subcommand_from stats' -l no-stream -d 'Print the numbers once'
complete -c nephos -n '__fish_seen_subcommand_from stats' -l format -x -a '(__nephos_value "table" "json")' -d 'Form of the output'
complete -c nephos -n '__fish_seen_subcommand_from stats' -l help -s h -d 'Show this help'
complete -c nephos -n 'not __fish_seen_subcommand_from run ssh ssh-config ps inspect port stats stop kill rm pause resume snapshot doctor completion' -a stop -d 'End the command and the VM in an orderly way'
complete -c nephos -n '__fish_seen_subcommand_from stop' -a '(__nephos_value (nephos ps -aq 2>/dev/null))'
complete -c nephos -n '__fish_seen_subcommand_from stop' -l time -s t -x -d 'Time until the VM is killed'
complete -c nephos -n '__fish_seen_subcommand_from stop' -l help -s h -d 'Show this help'
complete -c nephos -n 'not __fish_seen_subcommand_from run ssh ssh-config ps inspect port stats stop kill rm pause resume snapshot doctor completion' -a kill -d 'End VMs at once, or signal their commands'
complete -c nephos -n '__fish_seen_subcommand_from kill' -a '(__nephos_value (nephos ps -aq 2>/dev/null))'
complete -c nephos -n '__fish_seen_subcommand_from kill' -l signal -s s -x -d 'Signal for the command'
complete -c nephos -n '__fish_seen_subcommand_from kill' -l help -s h -d 'Show this help'
complete -c nephos -n 'not __fish_seen_subcommand_from run ssh ssh-config ps inspect port stats stop kill rm pause resume snapshot doctor completion' -a rm -d 'Remove VMs that have exited or crashed'
complete -c nephos -n '__fish_seen_subcommand_from rm' -a '(__nephos_value (nephos ps -aq 2>/dev/null))'
complete -c nephos -n '__fish_seen_subcommand_from rm' -l force -s f -d 'Kill a running VM first; ignore absent ones'
complete -c nephos -n '__fish_seen_subcommand_from rm' -l help -s h -d 'Show this help'
complete -c nephos -n 'not __fish_seen_subcommand_from run ssh ssh-config ps inspect port stats stop kill rm pause resume snapshot doctor completion' -a pause -d 'Pause VMs'
complete -c nephos -n '__fish_seen_subcommand_from pause' -a '(__nephos_value (nephos ps -aq 2>/dev/null))'
complete -c nephos -n '__fish_seen_subcommand_from pause' -l help -s h -d 'Show this help'
complete -c nephos -n 'not __fish_seen_subcommand_from run ssh ssh-config ps inspect port stats stop kill rm pause resume snapshot doctor completion' -a resume -d 'Resume paused VMs'
complete -c nephos -n '__fish_seen_subcommand_from resume' -a '(__nephos_value (nephos ps -aq 2>/dev/null))'
complete -c nephos -n '__fish_seen_subcommand_from resume' -l help -s h -d 'Show this help'
complete -c nephos -n 'not __fish_seen_subcommand_from run ssh ssh-config ps inspect port stats stop kill rm pause resume snapshot doctor completion' -a snapshot -d 'Take a snapshot of a VM'
complete -c nephos -n '__fish_seen_subcommand_from snapshot' -a '(__nephos_value (nephos ps -aq 2>/dev/null))'
complete -c nephos -n '__fish_seen_subcommand_from snapshot' -l help -s h -d 'Show this help'
complete -c nephos -n 'not __fish_seen_subcommand_from run ssh ssh-config ps inspect port stats stop kill rm pause resume snapshot doctor completion' -a doctor -d 'Check this machine: programs, accelerator, devices, disk space'
complete -c nephos -n '__fish_seen_subcommand_from doctor' -l format -x -a '(__nephos_value "table" "json")' -d 'Form of the output'
complete -c nephos -n '__fish_seen_subcommand_from doctor' -l help -s h -d 'Show this help'
complete -c nephos -n 'not __fish_seen_subcommand_from run ssh ssh-config ps inspect port stats stop kill rm pause resume snapshot doctor completion' -a completion -d 'Print the completion script of a shell'
complete -c nephos -n '__fish_seen_subcommand_from completion' -a '(__nephos_value "bash" "zsh" "fish")'
complete -c nephos -n '__fish_seen_subcommand_from completion' -l help -s h -d 'Show this help'
