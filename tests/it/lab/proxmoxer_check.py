"""Drives a practice Proxmox with the unmodified proxmoxer: login, list, create, start, wait, agent, stop, delete.

Usage: proxmoxer_check.py HOST PORT CA_FILE PASSWORD [TOKEN_SECRET]
Prints one line per step; any surprise ends it with a traceback and exit code 1.
"""

import sys
import time

from proxmoxer import ProxmoxAPI
from proxmoxer.core import ResourceException
from proxmoxer.tools import Tasks

host, port, ca_file, password = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]


def wait(api, upid):
    """Waits with proxmoxer's own helper and returns the exit status."""
    status = Tasks.blocking_status(api, upid, timeout=30, polling_interval=0.02)
    assert status is not None, f"{upid} did not end"
    return status["exitstatus"]


api = ProxmoxAPI(host, port=port, user="root@pam", password=password, verify_ssl=ca_file, timeout=20)
print("version", api.version.get()["version"])

node = api.nodes.get()[0]["node"]
names = {vm["name"]: vm for vm in api.nodes(node).qemu.get()}
assert len(names) == 10, names
assert names["calamity"]["status"] == "running", names["calamity"]
print("list", len(names))

vmid = int(api.cluster.nextid.get())
assert vmid not in {vm["vmid"] for vm in names.values()}
upid = api.nodes(node).qemu.create(
    vmid=vmid,
    name="made-by-proxmoxer",
    memory=1024,
    agent=1,
    net0="virtio,bridge=vmbr0",
    boot="order=net0",
    description="a=b; c&d\n100% ü",
)
decoded = Tasks.decode_upid(upid)
assert (decoded["type"], decoded["id"], decoded["user"]) == ("qmcreate", str(vmid), "root@pam"), decoded
assert wait(api, upid) == "OK"
vm = api.nodes(node).qemu(vmid)
config = vm.config.get()
assert config["description"] == "a=b; c&d\n100% ü", config
assert config["net0"].startswith("virtio=BC:24:11:"), config
print("create", vmid)

try:
    api.nodes(node).qemu.create(vmid=vmid)
    raise SystemExit("a second VM with the same vmid was made")
except ResourceException as error:
    assert error.status_code == 500 and "already exists" in str(error), error

upid = vm.status.start.post()
assert wait(api, upid) == "OK"
print("start", Tasks.decode_log(api.nodes(node).tasks(upid).log.get()))

address = None
for _ in range(400):
    try:
        cards = vm.agent("network-get-interfaces").get()["result"]
    except ResourceException as error:
        assert error.status_code == 500 and "QEMU guest agent is not running" in str(error), error
        time.sleep(0.02)
        continue
    mac = config["net0"].split(",")[0].split("=")[1].lower()
    card = next(card for card in cards if card["hardware-address"] == mac)
    four = [entry["ip-address"] for entry in card.get("ip-addresses", []) if entry["ip-address-type"] == "ipv4"]
    if four:
        address = four[0]
        break
    time.sleep(0.02)
assert address is not None, "the agent never named an address"
print("agent", address)
assert vm.agent.ping.post() == {"result": {}}

vm.config.put(digest=vm.config.get()["digest"], tags="b;a")
assert vm.config.get()["tags"] == "a;b"
try:
    vm.config.put(digest="0" * 40, cores=2)
    raise SystemExit("a change with a stale digest was taken")
except ResourceException as error:
    assert "checksum mismatch" in str(error), error

try:
    vm.delete()
    raise SystemExit("a running VM was deleted")
except ResourceException as error:
    assert "is running - destroy failed" in str(error), error
assert wait(api, vm.status.stop.post()) == "OK"
assert wait(api, vm.delete(purge=1)) == "OK"
try:
    vm.config.get()
    raise SystemExit("the VM is still there")
except ResourceException as error:
    assert "does not exist" in str(error), error
print("delete", vmid)

secret = api.access.users("root@pam").token("proxmoxer").create(privsep=0)["value"]
token = ProxmoxAPI(host, port=port, user="root@pam", token_name="proxmoxer", token_value=secret, verify_ssl=ca_file, timeout=20)
assert len(token.nodes(node).qemu.get()) == 10
upid = token.nodes(node).qemu(104).status.start.post()
assert ":root@pam!proxmoxer:" in upid, upid
assert wait(token, upid) == "OK"
print("token", upid)
