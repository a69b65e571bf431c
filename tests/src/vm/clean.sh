# What a part of a test may have left in the machine. Only this shell and its init survive.
kill -9 -1 || true
tunnels=$(ip l2tp show tunnel | sed -n 's/^Tunnel \([0-9]*\),.*/\1/p')
for tunnel in $tunnels; do
    ip l2tp del tunnel tunnel_id "$tunnel"
done
# Programs hang on links that are pinned there; both go with the mount.
# A part may have mounted it over another; what still uses it does not keep it here.
while umount -l /sys/fs/bpf 2>/dev/null; do :; done
ip link set eth0 xdp off
for link in $(ip -o link | sed -n 's/^[0-9]*: \(l2[^:@]*\)[:@].*/\1/p'); do
    # The other end of a pair may have taken it along.
    ip link del "$link" 2>/dev/null || true
done
if tc qdisc show dev eth0 2>/dev/null | grep -q clsact; then
    tc qdisc del dev eth0 clsact
fi
ip -6 addr flush dev lo scope global
ip -4 addr flush dev lo scope global
ip route flush proto ospf
ip -6 route flush proto ospf
rm -rf /tmp/* /run/frr
