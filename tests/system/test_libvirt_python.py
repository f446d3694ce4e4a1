"""libvirt-python, as scripts use it: every kind of call, once, with the answer it should have."""

from __future__ import annotations

from pathlib import Path

from guests import domain_xml
from tests.support.daemon import DaemonProcess
from tests.support.guest import running_tiny
from tests.support.libvirt_python import libvirt_python

CONNECTION = """
import os, uuid
assert connection.isAlive() and connection.isEncrypted() == 0
assert connection.getType() == "QEMU"
assert connection.getLibVersion() == libvirt.getVersion() and connection.getVersion() > 7000000
assert connection.getHostname()
assert connection.getURI().startswith("qemu")
assert "<capabilities>" in connection.getCapabilities()
assert "<domainCapabilities>" in connection.getDomainCapabilities(None, "x86_64", "q35", "qemu", 0)
assert connection.getMaxVcpus("qemu") > 0
model, memory, cpus, *_ = connection.getInfo()
assert (model, cpus) == ("x86_64", os.cpu_count()) and memory > 0
assert connection.getFreeMemory() > 0
assert connection.getCellsFreeMemory(0, 1)[0] > 0
assert connection.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)["total"] > 0
assert set(connection.getCPUStats(libvirt.VIR_NODE_CPU_STATS_ALL_CPUS)) == {"kernel", "user", "idle", "iowait"}
assert connection.getCPUMap()[0] == os.cpu_count()
assert "qemu64" in connection.getCPUModelNames("x86_64")
assert connection.getSecurityModel() == ["", ""]
assert connection.isSecure() == (1 if "unix" in sys.argv[1] else 0)
for feature, call in {"interface": connection.changeBegin, "storage": connection.getSysinfo}.items():
    try:
        call()
    except libvirt.libvirtError as error:
        assert error.get_error_code() in (libvirt.VIR_ERR_NO_SUPPORT, libvirt.VIR_ERR_CONFIG_UNSUPPORTED), error
    else:
        raise AssertionError(feature)
"""

DOMAIN = """
xml = open(sys.argv[2]).read()
domain = connection.defineXMLFlags(xml, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
assert (domain.name(), domain.ID(), domain.isActive(), domain.isPersistent()) == ("t", -1, 0, 1)
assert connection.lookupByUUIDString(domain.UUIDString()).name() == "t"
assert domain.OSType() == "hvm" and domain.autostart() == 0 and domain.isUpdated() == 0
assert connection.listDefinedDomains() == ["t"] and connection.numOfDomains() == 0
domain.setAutostart(1)
assert domain.autostart() == 1
domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
assert domain.state() == [libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_USER]
domain.resume()
assert connection.listDomainsID() == [domain.ID()] and connection.lookupByID(domain.ID()).name() == "t"
state, maximum, memory, vcpus, time = domain.info()
assert (state, maximum, vcpus) == (libvirt.VIR_DOMAIN_RUNNING, domain.maxMemory(), 1)
assert domain.maxVcpus() == 1 and domain.vcpusFlags(libvirt.VIR_DOMAIN_AFFECT_LIVE) == 1
(infos, maps) = domain.vcpus()
assert len(infos) == len(maps) == 1 and infos[0][0] == 0
assert domain.vcpuPinInfo(0)[0][0] and domain.emulatorPinInfo(0)[0]
assert domain.controlInfo() == [0, 0, 0]
assert domain.memoryStats()["rss"] > 0
assert domain.blockInfo("vda")[0] > 0
assert domain.blockStats("vda")[4] == -1
assert "rd_operations" in domain.blockStatsFlags("vda")
assert domain.diskErrors() == {}
assert domain.getCPUStats(True)[0]["cpu_time"] > 0
assert domain.securityLabel() == ["", False] and domain.securityLabelList() == []
assert domain.ioThreadInfo() == []
assert domain.messages() == []
assert domain.jobInfo()[0] == libvirt.VIR_DOMAIN_JOB_NONE
(record,) = connection.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE | libvirt.VIR_DOMAIN_STATS_BLOCK)
assert record[0].name() == "t" and record[1]["state.state"] == 1 and record[1]["block.0.name"] == "vda"
domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_TITLE, "title", None, None, libvirt.VIR_DOMAIN_AFFECT_LIVE)
assert domain.metadata(libvirt.VIR_DOMAIN_METADATA_TITLE, None) == "title"
domain.sendKey(libvirt.VIR_KEYCODE_SET_LINUX, 50, [30], 1, 0)
domain.reset()
mime = domain.managedSave()
assert domain.hasManagedSaveImage() == 1 and domain.state()[1] == libvirt.VIR_DOMAIN_SHUTOFF_SAVED
domain.create()
assert domain.state()[1] == libvirt.VIR_DOMAIN_RUNNING_RESTORED
for call, code in (
    (lambda: domain.create(), libvirt.VIR_ERR_OPERATION_INVALID),
    (lambda: domain.abortJob(), libvirt.VIR_ERR_OPERATION_INVALID),
    (lambda: domain.interfaceStats("vnet9"), libvirt.VIR_ERR_INVALID_ARG),
    (lambda: domain.detachDevice("<disk><target dev='vdz'/></disk>"), libvirt.VIR_ERR_DEVICE_MISSING),
    (lambda: domain.attachDevice("<tpm/>"), libvirt.VIR_ERR_CONFIG_UNSUPPORTED),
    (lambda: connection.defineXML("<domain"), libvirt.VIR_ERR_XML_ERROR),
    (lambda: domain.memoryParameters(), libvirt.VIR_ERR_OPERATION_INVALID),
    (lambda: domain.schedulerParameters(), libvirt.VIR_ERR_OPERATION_INVALID),
    (lambda: domain.checkpointCreateXML("<domaincheckpoint/>"), libvirt.VIR_ERR_NO_SUPPORT),
    (lambda: domain.XMLDesc(1 << 20), libvirt.VIR_ERR_INVALID_ARG),
):
    try:
        call()
    except libvirt.libvirtError as error:
        assert error.get_error_code() == code, (code, error.get_error_code(), error)
    else:
        raise AssertionError(code)
domain.destroyFlags(libvirt.VIR_DOMAIN_DESTROY_GRACEFUL)
domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE)
assert connection.listAllDomains() == []
"""

READ_ONLY = """
reader = libvirt.openReadOnly(sys.argv[1])
(domain,) = reader.listAllDomains()
assert domain.info()[0] == libvirt.VIR_DOMAIN_SHUTOFF and reader.getAllDomainStats()
for call in (domain.create, domain.undefine, lambda: domain.setAutostart(1), lambda: domain.XMLDesc(1)):
    try:
        call()
    except libvirt.libvirtError as error:
        assert error.get_error_code() == libvirt.VIR_ERR_OPERATION_DENIED, error
    else:
        raise AssertionError(call)
"""


def test_the_connection(uri: str, host_a: DaemonProcess) -> None:
    libvirt_python(CONNECTION, uri)


def test_a_domain(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    xml = domain_xml.tiny_guest(folder, "t", boot="disk").write_xml()
    libvirt_python(DOMAIN, uri, str(xml))
    host_a.assert_no_leftovers()


def test_a_reader(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    xml = domain_xml.tiny_guest(folder, "t").write_xml()
    libvirt_python("connection.defineXML(open(sys.argv[2]).read())", uri, str(xml))
    libvirt_python(READ_ONLY, uri)


GRAPHICS = """
import socket
domain = connection.lookupByName("tiny")
def refused(act):
    try:
        act()
    except libvirt.libvirtError as error:
        return str(error)
    raise AssertionError("not refused")
if "tcp" in sys.argv[1]:
    assert "fd passing is not supported" in refused(lambda: domain.openGraphicsFD(0))
    sys.exit()
for flags in (0, libvirt.VIR_DOMAIN_OPEN_GRAPHICS_SKIPAUTH):
    with socket.socket(fileno=domain.openGraphicsFD(0, flags)) as screen:
        screen.settimeout(20)
        assert screen.recv(12) == b"RFB 003.008\\n"
assert "no graphics backend with index 1" in refused(lambda: domain.openGraphicsFD(1))
assert "unsupported flags" in refused(lambda: domain.openGraphicsFD(0, 2))
ours, theirs = socket.socketpair()
assert "passing file descriptors is not supported" in refused(lambda: domain.openGraphics(0, theirs.fileno()))
assert connection.isAlive() and domain.info()
domain.destroy()
assert "not running" in refused(lambda: domain.openGraphicsFD(0))
"""


def test_a_screen_by_a_descriptor(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    """As virt-manager and virt-viewer show one on the same host; there is none to be passed over a network."""
    screen = "<graphics type='vnc' autoport='yes'/><video><model type='vga'/></video>"
    with running_tiny(host_a, folder, devices=screen, persistent=True):
        libvirt_python(GRAPHICS, uri)
        assert "Traceback" not in host_a.log
