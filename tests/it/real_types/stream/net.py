"""The other ends of a proxy: `answer PROTOCOL:ADDRESS:PORT…`, `talk PROTOCOL ADDRESS PORT`, `hold PROTOCOL ADDRESS PORT`, `occupy …`.

`answer` sends each line back with its own argument in front. `talk` sends each line of its input and prints what comes back, or `lost`.
`hold` listens, and `occupy` only has the port. All but `talk` say `ready` once they have what they need.
"""

import socket
import sys
import threading
import time

KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


def bound(kind, address, port):
    sock = socket.socket(socket.AF_INET, KINDS[kind])
    sock.bind((address, int(port)))
    return sock


def converse(peer, name):
    for line in peer.makefile("rb"):
        peer.sendall(name + b" heard " + line)


def answer_tcp(sock, name):
    while True:
        peer, _ = sock.accept()
        threading.Thread(target=converse, args=(peer, name), daemon=True).start()


def answer_udp(sock, name):
    while True:
        line, peer = sock.recvfrom(2048)
        sock.sendto(name + b" heard " + line, peer)


def answer(*places):
    for place in places:
        kind, address, port = place.split(":")
        sock = bound(kind, address, port)
        if kind == "tcp":
            sock.listen()
        serve = answer_tcp if kind == "tcp" else answer_udp
        threading.Thread(target=serve, args=(sock, place.encode()), daemon=True).start()
    rest()


def talk(kind, address, port):
    sock = socket.socket(socket.AF_INET, KINDS[kind])
    sock.settimeout(10)
    try:
        sock.connect((address, int(port)))
        for line in sys.stdin.buffer:
            sock.sendall(line)
            heard = sock.recv(2048)
            print(heard.decode().strip() or "lost", flush=True)
    except OSError as error:
        print("lost:", error, flush=True)


def hold(kind, address, port):
    sock = bound(kind, address, port)
    if kind == "tcp":
        sock.listen()
    rest()


def occupy(kind, address, port):
    # The name keeps the socket open.
    sock = bound(kind, address, port)
    rest()
    sock.close()


def rest():
    print("ready", flush=True)
    time.sleep(900)


globals()[sys.argv[1]](*sys.argv[2:])
