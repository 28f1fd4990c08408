"""A network of its own, with a name server that lies: everything that is asked here stays here.

Started in new network and mount namespaces. Says what came of each request, as JSON.
"""

import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import threading

HEDDLE, PLUGIN, FOLDER = sys.argv[1:4]
PUBLIC = "93.184.216.34"

# The network: this machine, and an address that is public everywhere else.
def set_up(name, address=None):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        if address:
            family = struct.pack("<HH4s8s", socket.AF_INET, 0, socket.inet_aton(address), b"")
            fcntl.ioctl(control, 0x8916, struct.pack("16s16s", name.encode(), family))  # SIOCSIFADDR
        fcntl.ioctl(control, 0x8914, struct.pack("16sH14s", name.encode(), 0x41, b""))  # SIOCSIFFLAGS: up, running


set_up("lo")
set_up("lo:1", PUBLIC)
conf = os.path.join(FOLDER, "resolv.conf")
with open(conf, "w") as file:
    file.write("nameserver 127.0.0.1\noptions attempts:1 timeout:2\n")
subprocess.run(["mount", "--bind", conf, "/etc/resolv.conf"], check=True)

# The name server. What a name means is a list of answers: the first time the first of them, in the end the last.
V4, V6 = 1, 28
NAMES = {
    "public.example": [{V4: [PUBLIC]}],
    "rebinding.example": [{V4: [PUBLIC]}, {V4: ["127.0.0.1"]}],
    "mixed.example": [{V4: ["127.0.0.1", "10.0.0.1", PUBLIC, "169.254.169.254"]}],
    "inside.example": [{V4: ["127.0.0.1"]}],
    "metadata.example": [{V4: ["169.254.169.254"]}],
    "six.example": [{V6: ["::1"]}],
    "mapped.example": [{V6: ["::ffff:127.0.0.1"]}],
    "translated.example": [{V6: ["64:ff9b::7f00:1"]}],
    "many.example": [{V4: ["10.0.%d.%d" % (n // 20, n % 20) for n in range(300)]}],
    "nothing.example": [{}],
    "silent.example": [None],
}
asked = []


def answer(query):
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode())
        at += query[at] + 1
    name, (kind,) = ".".join(labels).lower(), struct.unpack(">H", query[at + 1 : at + 3])
    before = sum(1 for other, of in asked if (other, of) == (name, kind))
    asked.append((name, kind))
    meant = NAMES.get(name)
    if meant is None:
        return query[:2] + b"\x81\x83" + query[4:6] + b"\0\0\0\0\0\0" + query[12 : at + 5]
    answers = meant[min(before, len(meant) - 1)]
    if answers is None:
        return None
    records = b""
    for address in answers.get(kind, []):
        family = socket.AF_INET if kind == V4 else socket.AF_INET6
        data = socket.inet_pton(family, address)
        records += b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 0, len(data)) + data
    count = len(answers.get(kind, []))
    return query[:2] + b"\x81\x80" + query[4:6] + struct.pack(">HHH", count, 0, 0) + query[12 : at + 5] + records


def names():
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))
    while True:
        query, who = server.recvfrom(4096)
        said = answer(query)
        if said is not None:
            server.sendto(said, who)


# Services: one that is public, one that is nobody's business.
came = []


def service(address, family=socket.AF_INET):
    server = socket.socket(family, socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((address, 80))
    server.listen(16)
    while True:
        stream, _ = server.accept()
        head = stream.recv(65536).decode()
        host = next((line[6:] for line in head.split("\r\n") if line.lower().startswith("host: ")), "")
        came.append((address, host))
        stream.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi")
        stream.close()


for work, arguments in [(names, ()), (service, (PUBLIC,)), (service, ("127.0.0.1",)), (service, ("::1", socket.AF_INET6))]:
    threading.Thread(target=work, args=arguments, daemon=True).start()

with open(os.path.join(FOLDER, "key.txt"), "w") as file:
    file.write("a secret value")
with open(os.path.join(FOLDER, "heddle.toml"), "w") as file:
    file.write(
        f'[egress]\nallow_private = ["{PUBLIC}/32"]\n[limits]\nhttp_connect_ms = "1s"\n[secrets]\napi-key = "file:key.txt"\n'
        '[grants."tool:http-fetch"]\nhttp = ["GET http://*.example"]\nsecrets = ["api-key http://*.example"]\n'
    )
with open(os.path.join(FOLDER, "ask.yaml"), "w") as file:
    file.write(
        'document: { dsl: "1.0", namespace: t, name: ask, version: 1.0.0 }\n'
        'steps: { ask: { call: "tool:http-fetch", with: { url: "${ input.url }" } } }\n'
        'output: { as: "${ steps.ask.output.status }"}\n'
    )

results = []
for host in sys.argv[4:]:
    asked_before, came_before = len(asked), len(came)
    done = subprocess.run(
        [HEDDLE, "run", "ask.yaml", "--arg", f"url=http://{host}/", "--ephemeral", "--plugins", PLUGIN, "--json"],
        cwd=FOLDER,
        capture_output=True,
        text=True,
    )
    told = done.stdout + done.stderr
    kinds = [kind for kind in ("egress_denied", "egress_failed", "egress_timeout") if kind in told]
    results.append(
        {
            "host": host,
            "exit": done.returncode,
            "kind": kinds[0] if done.returncode and kinds else None,
            "asked": [of for name, of in asked[asked_before:] if name == host],
            "came": [address for address, _ in came[came_before:]],
            "told": told[-2000:],
        }
    )
print(json.dumps(results))
