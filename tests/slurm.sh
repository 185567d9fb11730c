#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A Slurm cluster of two nodes on this host renders a manifest: preempted, with a node that dies, with and without
# RequeueExit, it gives the bytes of one undisturbed process. Everything is in one directory, on loopback, and goes.
# Usage: slurm.sh RENDER MODEL
set -u
export PATH=$PATH:/usr/sbin:/sbin LC_ALL=C
for tool in munged slurmctld slurmd sbatch scontrol squeue; do
    command -v $tool > /dev/null || { echo "no $tool: Debian's munge slurmctld slurmd slurm-client"; exit 77; }
done
render=$(realpath "$1") model=$(realpath "$2")
work=$(mktemp -d) || exit 2
export SLURM_CONF=$work/slurm.conf ZOETROPE_MODEL=$model
cd "$work" || exit 2
failed=0
complain() { printf 'FAIL: %.300s\n' "$1"; failed=1; }

# ---- what was started, and only that: what has one of our files open or our configuration in its environment
ours() {
    local p
    for p in /proc/[0-9]*; do
        [ "${p#/proc/}" != $$ ] && [ "${p#/proc/}" != "$BASHPID" ] || continue
        if grep -qzFx "SLURM_CONF=$SLURM_CONF" "$p/environ" 2> /dev/null || readlink "$p"/fd/* 2> /dev/null | grep -qF "$work/"
        then echo "${p#/proc/}"; fi
    done
}
end() {
    local try pids
    trap - EXIT
    [ $failed = 0 ] || tail -n 15 ctld.log n1.log n2.log jobs/* 2> /dev/null
    exec < /dev/null 2> /dev/null
    for try in $(seq 50); do
        pids=$(ours)
        [ -n "$pids" ] || break
        kill -9 $pids 2> /dev/null
        sleep 0.1
    done
    [ -z "$pids" ] || complain "not ended: $pids"
    cd / && rm -rf "$work"
    exit $failed
}
trap end EXIT
trap 'failed=1; exit' INT TERM
fail() { complain "$1"; exit 1; }
until_true() {      # SECONDS COMMAND...
    local last=$(($(date +%s) + $1)); shift
    until "$@"; do [ "$(date +%s)" -lt $last ] || return 1; sleep 0.2; done
}

# ---- the cluster
node() { slurmd -D -f "$SLURM_CONF" -N "$1" >> "$1.out" 2>&1 & eval "$1=$!"; }
idle() { [ "$(sinfo -h -N -p batch -o '%N %t' 2> /dev/null | grep -c 'idle$')" -eq "$1" ]; }
configure() {       # PORT LINE
    local user; user=$(id -un)
    cat > slurm.conf <<CONF
ClusterName=zoetrope
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort=$1
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
AuthInfo=socket=$work/munge.sock,cred_expire=5
CredType=cred/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
MpiDefault=none
MailProg=/bin/true
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
KillWait=5
SlurmdTimeout=5
SlurmctldTimeout=30
MessageTimeout=5
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/none
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool-%n
SlurmctldPidFile=$work/ctld.pid
SlurmdPidFile=$work/%n.pid
SlurmctldLogFile=$work/ctld.log
SlurmdLogFile=$work/%n.log
NodeName=n1 NodeHostname=localhost NodeAddr=127.0.0.1 Port=$(($1 + 1)) CPUs=2 RealMemory=1000
NodeName=n2 NodeHostname=localhost NodeAddr=127.0.0.1 Port=$(($1 + 2)) CPUs=2 RealMemory=1000
PartitionName=batch Nodes=n1,n2 Default=YES PriorityTier=1 PreemptMode=REQUEUE GraceTime=20 State=UP
PartitionName=live Nodes=n1,n2 PriorityTier=10 PreemptMode=OFF State=UP
$2
CONF
}
start() {           # LINE of the configuration; other ports when these are taken
    local try
    mkdir -p state spool-n1 spool-n2 jobs
    for try in 1 2 3 4 5; do
        configure $((20000 + RANDOM % 10000)) "$1"
        slurmctld -D -c -f "$SLURM_CONF" > ctld.out 2>&1 & ctld=$!
        node n1; node n2
        if until_true 15 idle 2; then return; fi
        stop
    done
    # What slurmd cannot do without: control groups, and a name of this host that leads to an address.
    local why
    why=$(grep -hm 1 -E 'cgroup|Address family' n1.log n2.log ctld.out | cut -d' ' -f2-)
    if [ -n "$why" ] && { ! mountpoint -q /sys/fs/cgroup || ! getent hosts "$(hostname)" > /dev/null; }; then
        echo "Slurm does not start here: $why"; exit 77
    fi
    fail "the cluster does not start: $(tail -n 5 ctld.out n1.out)"
}
stop() {
    local pids
    kill -9 $ctld $n1 $n2 2> /dev/null
    wait $ctld $n1 $n2 2> /dev/null
    pids=$(ours | grep -vx "$munge")
    [ -z "$pids" ] || kill -9 $pids 2> /dev/null
    rm -rf state spool-n1 spool-n2
}

chmod 700 .
(umask 077; head -c 1024 /dev/urandom > munge.key)
munged --force -F --key-file="$work/munge.key" --socket="$work/munge.sock" --pid-file="$work/munged.pid" \
       --log-file="$work/munged.log" --seed-file="$work/munge.seed" > munged.out 2>&1 & munge=$!
until_true 10 test -S munge.sock || { echo "munged does not start here: $(tail -n 2 munged.out)"; exit 77; }

# ---- what the cluster is asked
submit() {          # MANIFEST OUT: the number of the array
    local said
    said=$(SBATCH_OUTPUT=$work/jobs/%A_%a "$render" --manifest "$1" -o "$2" --chunk 24 --per-task 2 --submit slurm --go) ||
        fail "--go: $said"
    array=${said##* }
    [ "$array" -gt 0 ] || fail "sbatch: $said"
}
states() { scontrol -o show job "$array" | grep -o 'JobState=[A-Z_]*' | sort | uniq -c | awk '{ print $2 ":" $1 }' | paste -sd ' '; }
ended() { [ "$(states)" = "JobState=COMPLETED:$1" ]; }
restarts() { scontrol -o show job "$array" | sed -n 's/.* Restarts=\([0-9]*\).*/\1/p' | awk '{ n += $1 } END { print n + 0 }'; }
running() { [ "$(squeue -h -j "$array" -t R | wc -l)" -ge "$1" ]; }
chunks() { [ "$(ls "$1"/.*/chunk-00001.* 2> /dev/null | wc -l)" -ge "$2" ]; }
finish() {          # OUT TASKS SECONDS: every task ends with 0, every clip is what it is without a cluster
    until_true "$3" ended "$2" || fail "$1: after $3 s: $(states)"
    "$render" --manifest "$manifest" -o "$1" --chunk 24 --collect > collected 2>&1 || complain "$1: $(cat collected)"
    diff -r whole-"$manifest" "$1" > difference 2>&1 || complain "$1: $(head -n 3 difference)"
    echo "$SECONDS s: $1: $2 tasks, $(restarts) restarts, the same bytes"
}

for i in 1 2 3 4 5 6 7 8; do echo "{\"id\":\"short$i\",\"prompt\":\"sea\",\"frames\":60,\"seed\":$i}"; done > short
for i in 1 2 3 4 5 6 7 8; do echo "{\"id\":\"long$i\",\"prompt\":\"sea\",\"frames\":600,\"steps\":16,\"seed\":$i}"; done > long
"$render" -q --manifest short -o whole-short --chunk 24 || fail short
"$render" -q --manifest long -o whole-long --chunk 24 || fail long

start RequeueExit=75
! ss -Hltn 2> /dev/null | awk '{ print $4 }' | grep -E "^(0\.0\.0\.0|\*|\[::\]):($(sed -n 's/.*Port=\([0-9]*\).*/\1/p' slurm.conf | paste -sd '|'))\$" ||
    complain "a port is open to the network"

# ---- an array
manifest=short
submit short array
finish array 4 60

# ---- jobs that matter more: everything yields, and comes back
manifest=long
submit long preempted
until_true 60 running 4 && until_true 60 chunks preempted 4 || fail "preemption: $(states)"
sbatch -p live -N 2 --exclusive -o jobs/live --wrap 'sleep 2' > live.id || fail "the live job"
until_true 40 test -f jobs/live || fail "the live job does not run: $(squeue)"
running 1 && complain "the live job shares the nodes"
chunks preempted 4 || complain "what was rendered is lost"
finish preempted 4 120
[ "$(restarts)" -ge 4 ] || complain "$(restarts) restarts, not 4"

# ---- a node dies with all that runs on it
submit long died
until_true 60 running 4 && until_true 60 chunks died 4 || fail "node death: $(states)"
kill -9 $n2; wait $n2 2> /dev/null
for p in $(ours); do
    grep -qzFx SLURMD_NODENAME=n2 /proc/"$p"/environ 2> /dev/null && kill -9 "$(awk '/^PPid/ { print $2 }' /proc/"$p"/status)" "$p"
done
until_true 60 idle 0; until_true 60 sh -c 'sinfo -h -N -p batch -o "%N %t" | grep -q "n2 down"' || complain "n2 is not down"
finish died 4 120
[ "$(restarts)" -ge 1 ] || complain "nothing was on the node"

node n2
until_true 30 idle 2 || complain "n2 does not come back: $(sinfo -h -N)"

# ---- a cluster that knows nothing of exit codes: the script asks for another go itself
stop
start ''
submit long asked
until_true 60 running 4 && until_true 60 chunks asked 4 || fail "RequeueExit: $(states)"
scancel --batch -s TERM "$array" || complain scancel
finish asked 4 120
[ "$(restarts)" -eq 4 ] || complain "$(restarts) restarts, not 4"

# ---- what another go does not help fails for good
echo '{"id":"bad","prompt":"sea","controls":{"nose":1}}' > bad
submit bad bad
until_true 30 sh -c "scontrol -o show job $array | grep -q 'JobState=FAILED.*ExitCode=65:0'" || complain "a bad clip: $(states)"
exit $failed
