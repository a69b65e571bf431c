#!/bin/sh
# Process 1 of the virtual machine: mounts, modules, and the agent that runs what the lab asks for.
export PATH=/usr/sbin:/usr/bin:/usr/lib/frr HOME=/ TERM=dumb
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs -o size=512m tmpfs /tmp
mount -t tmpfs tmpfs /run
exec </dev/null >/dev/console 2>&1

# Addresses can be used at once.
for scope in all default; do
    echo 0 >"/proc/sys/net/ipv6/conf/$scope/accept_dad"
done
for module in $(cat /modules/order); do
    insmod "/modules/$module" || echo "init: cannot insert $module"
done
ip link set lo up

port=
for attempt in $(seq 200); do
    for port in /dev/vport*p1; do
        [ -c "$port" ] && break 2
    done
    sleep 0.05
done
exec 3<>"$port"

# A request is a line `id seconds length` and as many bytes of shell script. The answer is a line
# `id status length` and as many bytes of output.
echo ready >&3
while read -r id seconds length <&3; do
    head -c "$length" <&3 >/tmp/.request
    timeout "$seconds" /usr/bin/bash /tmp/.request </dev/null >/tmp/.output 2>&1
    status=$?
    echo "$id $status $(stat -c %s /tmp/.output)" >&3
    cat /tmp/.output >&3
done

# The lab is gone: so is this machine.
poweroff -f
