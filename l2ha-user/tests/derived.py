"""Derives what a cluster's file and secret come to, from docs/cluster.md ("What is derived, and how") alone, and compares
it with what `l2ha check --expand --all --output FOLDER` wrote.

Usage: derived.py CLUSTER-FILE FOLDER

A key of a client's own is compared where FOLDER/NODE/node.key has one.

Python's standard library and nothing else: no line is shared with the program that is compared.
"""

import hashlib
import hmac
import ipaddress
import pathlib
import sys
import tomllib

SALT = b"l2ha cluster 1"
SHORT_NAME = 12


def extract(key: bytes) -> bytes:
    """RFC 5869 2.2, with SHA-256."""
    return hmac.new(SALT, key, hashlib.sha256).digest()


def expand(prk: bytes, words: list[str], length: int) -> bytes:
    """RFC 5869 2.3: one block is enough for all that is derived here."""
    assert length <= 32
    info = b"".join(word.encode() + b"\0" for word in words)
    return hmac.new(prk, info + b"\1", hashlib.sha256).digest()[:length]


class Cluster:
    def __init__(self, name: str, secret: bytes, servers: set[str]):
        self.name = name
        self.servers = servers
        self.public = extract(name.encode())
        self.secret = extract(secret)

    def session_id(self, sender: str, receiver: str) -> int:
        return int.from_bytes(expand(self.public, ["session", sender, receiver], 4)) or 1

    def router_id(self, node: str) -> str:
        return str(ipaddress.IPv4Address(int.from_bytes(expand(self.public, ["router", node], 4)) or 1))

    def address(self, node: str) -> str:
        prefix = expand(self.public, ["prefix"], 5)
        packed = b"\xfd" + prefix + b"\0\0" + expand(self.public, ["address", node], 8)
        return str(ipaddress.IPv6Address(packed))

    def interface(self, peer: str) -> str | None:
        if len(peer) <= SHORT_NAME:
            return None
        return f"l2-{peer[:5]}-{expand(self.public, ['interface', peer], 3).hex()}"

    def fingerprint(self) -> bytes:
        return expand(self.secret, ["fingerprint", self.name], 1)

    def node_key(self, node: str) -> bytes:
        return expand(self.secret, ["node", self.name, node], 32)

    def shared(self, one: str, other: str) -> bytes:
        if (one in self.servers) == (other in self.servers):
            return expand(self.secret, ["alike", self.name, min(one, other), max(one, other)], 32)
        client, server = (other, one) if one in self.servers else (one, other)
        return expand(self.node_key(client), ["pair", server], 32)

    def tunnel(self, node: str, peer: str) -> dict[str, object]:
        """What the tunnel to `peer` has in the file of `node`, files by their content."""
        key = self.shared(node, peer)
        number = self.fingerprint()[0]
        return {
            "interface": self.interface(peer),
            "session_id": self.session_id(peer, node),
            "peer_session_id": self.session_id(node, peer),
            "receive_cookie_file": expand(key, ["cookie", peer, node], 8).hex(),
            "send_cookie_file": expand(key, ["cookie", node, peer], 8).hex(),
            "ospf_key_file": expand(key, ["ospf"], 32).hex(),
            "ospf_key_id": number + 1,
            "bfd_key_file": expand(key, ["bfd"], 10).hex(),
            "bfd_key_id": number,
        }


def main() -> int:
    cluster_file, folder = map(pathlib.Path, sys.argv[1:3])
    section = tomllib.loads(cluster_file.read_text())["cluster"]
    secret = bytes.fromhex(pathlib.Path(section["secret_file"]).read_text().strip())
    roles = {role: list(section.get(role, {})) for role in ("servers", "clients", "gateways")}
    cluster = Cluster(section["name"], secret, set(roles["servers"]))
    compared, wrong = 0, []

    def same(what: str, theirs: object, ours: object) -> None:
        nonlocal compared
        compared += 1
        if theirs != ours:
            wrong.append(f"{what}: l2ha has {theirs}, the page gives {ours}")

    for node in [name for names in roles.values() for name in names]:
        home = folder / node
        written = tomllib.loads((home / "l2ha.toml").read_text())
        same(f"{node}: router id", written["ospf"]["router_id"], cluster.router_id(node))
        same(f"{node}: address", written["node"]["addresses"][0], cluster.address(node))
        is_server = node in cluster.servers
        others = [name for names in roles.values() for name in names if name != node]
        peers = [peer for peer in others if is_server or peer in cluster.servers]
        tunnels = {tunnel["name"]: tunnel for tunnel in written["tunnels"]}
        same(f"{node}: tunnels", sorted(tunnels), sorted(peers))
        for peer in peers:
            for key, ours in cluster.tunnel(node, peer).items():
                theirs = tunnels[peer].get(key)
                if key.endswith("_file"):
                    theirs = (home / theirs).read_text().strip()
                same(f"{node}, tunnel {peer}: {key}", theirs, ours)
        key_file = home / "node.key"
        if key_file.exists():
            own = (cluster.fingerprint() + cluster.node_key(node)).hex()
            same(f"{node}: key of its own", key_file.read_text().strip(), own)
    print(f"{compared} values compared")
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


sys.exit(main())
