"""The real virt-manager, on a screen that nobody sees, with hands on its own windows."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.daemon import DaemonProcess
from tests.support.guest import running_tiny

pytestmark = pytest.mark.interop

SCREEN = """<graphics type='vnc' autoport='yes' listen='127.0.0.1'/><video><model type='vga'/></video>"""

# Run by the system's interpreter in virt-manager's own main loop: a step, then a wait until its windows know. Every
# error that it logs or would show, and every exception, is trouble. Its arguments: URI, domain, a disk image.
DRIVER = r"""
import logging, os, sys, threading, time, traceback
sys.path.insert(0, "/usr/share/virt-manager")
import gi
gi.require_version("Gdk", "3.0"); gi.require_version("Gtk", "3.0"); gi.require_version("LibvirtGLib", "1.0")
from gi.repository import GLib, Gtk, LibvirtGLib
import libvirt
from virtinst import BuildConfig, cli, log

uri, name, image = sys.argv[1:4]
sys.argv = sys.argv[:1]
cli.setupLogging("virt-manager", False, False, False)
from virtManager.lib.testmock import CLITestOptionsClass
from virtManager import virtmanager
virtmanager._import_gtk([])
from virtManager import config
config.vmmConfig.get_instance(BuildConfig, CLITestOptionsClass([]))

troubles = []

class Keep(logging.Handler):
    def emit(self, record):
        text = self.format(record)
        if "from events: Domain not found" in text:
            return  # it looks at a domain once more that it has just undefined, with any daemon
        if record.exc_info or record.levelno >= logging.WARNING or "rror" in record.getMessage()[:60]:
            troubles.append(text)

log.addHandler(Keep())
from virtManager import error
def told(self, summary, details=None, *args, **kwargs):
    if "next guest shutdown" in kwargs.get("text2", ""):
        print("not plugged in:", [line for line in details.splitlines() if "libvirtError" in line][-1], flush=True)
        return True
    troubles.append(f"dialog: {summary} {details}")
    return False
error.vmmErrorDialog.show_err = error.vmmErrorDialog.val_err = told
error.vmmErrorDialog._simple_dialog = lambda self, kind, buttons, text1, *rest: True
error.vmmErrorDialog.chkbox_helper = lambda self, *args, **kwargs: True
def uncaught(kind, err, trace):
    troubles.append("".join(traceback.format_exception(kind, err, trace)))
sys.excepthook = uncaught
threading.excepthook = lambda args: uncaught(args.exc_type, args.exc_value, args.exc_traceback)

from virtManager.engine import vmmEngine
LibvirtGLib.init(None); LibvirtGLib.event_register()
engine = vmmEngine.get_instance()

def scenario():
    yield lambda: engine._connobjs and list(engine._connobjs.values())[0].is_active(), "connected"
    connection = list(engine._connobjs.values())[0]
    yield lambda: any(vm.get_name() == name for vm in connection.list_vms()), "listed"
    vm = next(vm for vm in connection.list_vms() if vm.get_name() == name)
    from virtManager.vmwindow import vmmVMWindow
    window = vmmVMWindow.get_instance(None, vm)
    window.show()
    window.activate_default_page()
    viewer = window._console
    yield lambda: viewer._viewer is not None and viewer._viewer.console_is_open(), "console shows the screen"
    window.activate_performance_page()
    yield lambda: vm.stats_memory() or len(connection.statsmanager.get_vm_statslist(vm)._stats) > 1, "statistics"
    window.activate_config_page()
    details = window._details
    for row in range(len(details.widget("hw-list").get_model())):
        details.widget("hw-list").get_selection().select_path(row)
        yield lambda: True, None
    print("hardware", [row[0] for row in details.widget("hw-list").get_model()], flush=True)
    window.widget("control-snapshots").set_active(True)
    yield lambda: True, "snapshots"
    assert vm.list_snapshots() == []
    window.widget("control-vm-details").set_active(True)

    def add(label, *, prepare=lambda dialog: None):
        details._show_addhw()
        dialog = details.addhw
        labels = [row[0] for row in dialog.widget("hw-list").get_model()]
        for at in range(len(labels)):
            dialog._set_hw_selection(at)
        dialog._set_hw_selection(labels.index(label))
        prepare(dialog)
        dialog._finish()
        return dialog
    def count(kind, inactive=False):
        return len(getattr(vm.get_xmlobj(inactive=inactive).devices, kind))
    def choose_image(dialog):
        dialog.addstorage.widget("storage-select").set_active(True)
        dialog.addstorage.widget("storage-entry").set_text(image)
    kinds = {"disk": ("Storage", choose_image), "rng": ("RNG", lambda dialog: None)}
    for kind, (page, prepare) in kinds.items():
        had = count(kind)
        dialog = add(page, prepare=prepare)
        yield lambda: count(kind, True) > had or troubles, f"added {kind}"
    from virtinst import DeviceInterface
    card = DeviceInterface(connection.get_backend())
    card.type, card.model, card.macaddr = "user", "virtio", "52:54:00:00:00:77"
    dialog._add_device(card)
    yield lambda: count("interface") == count("interface", True) == 1 or troubles, "added interface"
    dialog.close()

    vm.suspend()
    yield vm.is_paused, "paused"
    vm.resume()
    yield lambda: not vm.is_paused(), "resumed"
    vm.reboot()
    yield lambda: True, "rebooted"
    from virtManager.vmmenu import VMActionUI
    VMActionUI.save(window, vm)
    yield lambda: vm.is_shutoff() and vm.has_managed_save(), "saved"
    VMActionUI.run(window, vm)
    yield lambda: vm.is_active() and not vm.is_paused(), "restored"
    vm.destroy()
    yield vm.is_shutoff, "destroyed"
    had = count("rng", True)
    model = details.widget("hw-list").get_model()
    for at, row in enumerate(model):
        if getattr(row[4], "DEVICE_TYPE", "") == "rng":
            details.widget("hw-list").get_selection().select_path(at)
            details._config_remove()
            break
    yield lambda: count("rng", True) < had or troubles, "removed rng"

    vm.set_autostart(True)
    vm.startup()
    yield vm.is_active, "started"

    from virtManager.host import vmmHost
    host = vmmHost(connection)
    host.show()
    pages = host.widget("details-tabs")
    for page in range(pages.get_n_pages()):
        pages.set_current_page(page)
        yield lambda: True, None
    host.close()
    from virtManager.createvm import vmmCreateVM
    wizard = vmmCreateVM()
    wizard.show(None, uri)
    yield lambda: True, "wizard opens"
    wizard._close()
    vm.destroy()
    yield vm.is_shutoff, "ended"
    yield lambda: True, None
    yield lambda: True, None
    from virtManager.delete import vmmDeleteDialog
    vm.delete()
    yield lambda: not any(each.get_name() == name for each in connection.list_vms()), "undefined"

def play(steps, state={}):
    try:
        if "until" in state:
            condition, label = state["until"]
            if not condition():
                if time.monotonic() > state["deadline"]:
                    raise AssertionError(f"never {label}")
                return True
            if label:
                print("done:", label, flush=True)
        state["until"] = next(steps)
        state["deadline"] = time.monotonic() + 60
        return True
    except StopIteration:
        print("done: everything", flush=True)
    except BaseException:
        troubles.append(traceback.format_exc())
    for trouble in troubles:
        print("trouble:", trouble, flush=True)
    os._exit(1 if troubles else 0)

GLib.timeout_add(200, play, scenario())
engine.start(uri, None, None, True)
"""

STEPS = [
    *("connected", "listed", "console shows the screen", "statistics", "snapshots", "added disk", "added rng"),
    *("added interface", "paused", "resumed", "rebooted", "saved", "restored", "destroyed", "removed rng", "started"),
    *("wizard opens", "ended", "undefined", "everything"),
]


def test_windows(host_a: DaemonProcess, folder: Path) -> None:
    """Its URI has no transport: with one, virt-manager takes the host for a remote one and shows no local screen."""
    image = folder / "extra.raw"
    image.write_bytes(bytes(1 << 20))
    home = folder / "home"
    home.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    with running_tiny(host_a, folder, boot="disk", persistent=True, devices=SCREEN):
        uri = host_a.uri.replace("qemu+unix:", "qemu:")
        done = subprocess.run(
            ["dbus-run-session", "--", "xvfb-run", "-a", "/usr/bin/python3", "-c", DRIVER, uri, "tiny", str(image)],
            capture_output=True,
            text=True,
            timeout=170,
            check=False,
            env={**environment, "HOME": str(home), "XDG_CACHE_HOME": str(home), "NO_AT_BRIDGE": "1"},
        )
    told = [line.removeprefix("done: ") for line in done.stdout.splitlines() if line.startswith("done: ")]
    assert (told, done.returncode) == (STEPS, 0), done.stdout + done.stderr
    assert "a device <rng> cannot be plugged in or out" in done.stdout
