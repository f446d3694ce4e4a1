"""Storage pools, which are folders, and the disk images in them as they are (``handlers.volume`` changes them)."""

from __future__ import annotations

import asyncio
from uuid import UUID

from culvert.daemon.service import Service, no_flags
from culvert.domain import pool as pool_xml
from culvert.drivers.storage import pools, volumes
from culvert.drivers.storage.pools import Pool
from culvert.drivers.storage.volumes import Volume
from culvert.ground import errors
from culvert.protocol import remote_domain, remote_list, remote_object, remote_storage, shapes, types
from culvert.rpc.dispatch import Handlers
from culvert.rpc.session import Session
from culvert.xdr.struct import Void

INACTIVE, RUNNING = 0, 2  # VIR_STORAGE_POOL_*
LIST_INACTIVE, LIST_ACTIVE = 1, 2  # VIR_CONNECT_LIST_STORAGE_POOLS_*
LIST_PERSISTENT, LIST_TRANSIENT, LIST_AUTOSTART, LIST_NO_AUTOSTART, LIST_DIR = 4, 8, 16, 32, 64
FILE = 0  # VIR_STORAGE_VOL_FILE
XML_INACTIVE = 1  # VIR_STORAGE_XML_INACTIVE
PHYSICAL = 1  # VIR_STORAGE_VOL_GET_PHYSICAL


class StorageHandlers:
    """Handlers of the storage group."""

    def __init__(self, service: Service) -> None:
        self._service = service

    @property
    def _pools(self) -> pools.Pools:
        return self._service.pools

    def register(self, handlers: Handlers) -> None:
        """The procedures served here."""
        handlers.add(remote_list.CONNECT_LIST_ALL_STORAGE_POOLS, self.list_all)
        handlers.add(remote_object.CONNECT_NUM_OF_STORAGE_POOLS, self.count_active)
        handlers.add(remote_object.CONNECT_LIST_STORAGE_POOLS, self.list_active)
        handlers.add(remote_object.CONNECT_NUM_OF_DEFINED_STORAGE_POOLS, self.count_inactive)
        handlers.add(remote_object.CONNECT_LIST_DEFINED_STORAGE_POOLS, self.list_inactive)
        handlers.add(remote_storage.STORAGE_POOL_LOOKUP_BY_NAME, self.by_name)
        handlers.add(remote_storage.STORAGE_POOL_LOOKUP_BY_UUID, self.by_uuid)
        handlers.add(remote_storage.STORAGE_POOL_LOOKUP_BY_TARGET_PATH, self.by_target)
        handlers.add(remote_storage.STORAGE_POOL_LOOKUP_BY_VOLUME, self.by_volume)
        handlers.add(remote_storage.STORAGE_POOL_DEFINE_XML, self.define)
        handlers.add(remote_storage.STORAGE_POOL_CREATE_XML, self.create_xml)
        handlers.add(remote_storage.STORAGE_POOL_CREATE, self.create)
        handlers.add(remote_storage.STORAGE_POOL_BUILD, self.build)
        handlers.add(remote_storage.STORAGE_POOL_DESTROY, self.destroy)
        handlers.add(remote_storage.STORAGE_POOL_UNDEFINE, self.undefine)
        handlers.add(remote_storage.STORAGE_POOL_REFRESH, self.refresh)
        handlers.add(remote_storage.STORAGE_POOL_GET_INFO, self.info)
        handlers.add(remote_storage.STORAGE_POOL_GET_XML_DESC, self.xml)
        handlers.add(remote_storage.STORAGE_POOL_GET_AUTOSTART, self.get_autostart)
        handlers.add(remote_storage.STORAGE_POOL_SET_AUTOSTART, self.set_autostart)
        handlers.add(remote_storage.STORAGE_POOL_IS_ACTIVE, self.is_active)
        handlers.add(remote_storage.STORAGE_POOL_IS_PERSISTENT, self.is_persistent)
        handlers.add(remote_storage.STORAGE_POOL_NUM_OF_VOLUMES, self.count_volumes)
        handlers.add(remote_storage.STORAGE_POOL_LIST_VOLUMES, self.list_volumes)
        handlers.add(remote_storage.STORAGE_POOL_LIST_ALL_VOLUMES, self.list_all_volumes)
        handlers.add(remote_storage.CONNECT_FIND_STORAGE_POOL_SOURCES, self.find_sources)
        handlers.add(remote_storage.CONNECT_GET_STORAGE_POOL_CAPABILITIES, self.capabilities)
        handlers.add(remote_storage.STORAGE_VOL_LOOKUP_BY_NAME, self.volume_by_name)
        handlers.add(remote_storage.STORAGE_VOL_LOOKUP_BY_KEY, self.volume_by_path)
        handlers.add(remote_storage.STORAGE_VOL_LOOKUP_BY_PATH, self.volume_by_path)
        handlers.add(remote_storage.STORAGE_VOL_GET_INFO, self.volume_info)
        handlers.add(remote_storage.STORAGE_VOL_GET_INFO_FLAGS, self.volume_info_flags)
        handlers.add(remote_storage.STORAGE_VOL_GET_XML_DESC, self.volume_xml)
        handlers.add(remote_storage.STORAGE_VOL_GET_PATH, self.volume_path)

    def _pool(self, pool: types.StoragePool) -> Pool:
        return self._pools.by_uuid(UUID(bytes=pool.uuid))

    # lists and look-ups

    async def list_all(self, session: Session, args: shapes.ListAllArgs) -> remote_list.StoragePoolsRet:
        found = [on_wire(pool) for pool in self._pools.all() if _matches(pool, args.flags)]
        return remote_list.StoragePoolsRet(found if args.need_results else [], len(found))

    def _names(self, *, active: bool) -> list[str]:
        return [pool.name for pool in self._pools.all() if pool.active is active]

    async def count_active(self, session: Session, args: Void) -> shapes.NumRet:
        return shapes.NumRet(len(self._names(active=True)))

    async def list_active(self, session: Session, args: remote_list.MaxNamesArgs) -> remote_list.NamesRet:
        return remote_list.NamesRet(self._names(active=True)[: max(args.maxnames, 0)])

    async def count_inactive(self, session: Session, args: Void) -> shapes.NumRet:
        return shapes.NumRet(len(self._names(active=False)))

    async def list_inactive(self, session: Session, args: remote_list.MaxNamesArgs) -> remote_list.NamesRet:
        return remote_list.NamesRet(self._names(active=False)[: max(args.maxnames, 0)])

    async def by_name(self, session: Session, args: remote_list.NameArgs) -> remote_object.StoragePoolRet:
        return remote_object.StoragePoolRet(on_wire(self._pools.by_name(args.name)))

    async def by_uuid(self, session: Session, args: remote_list.UUIDArgs) -> remote_object.StoragePoolRet:
        return remote_object.StoragePoolRet(on_wire(self._pools.by_uuid(UUID(bytes=args.uuid))))

    async def by_target(self, session: Session, args: remote_list.NameArgs) -> remote_object.StoragePoolRet:
        return remote_object.StoragePoolRet(on_wire(self._pools.by_target(args.name)))

    async def by_volume(self, session: Session, args: remote_storage.VolArgs) -> remote_object.StoragePoolRet:
        return remote_object.StoragePoolRet(on_wire(self._pools.by_name(args.vol.pool)))

    # pools

    async def define(self, session: Session, args: shapes.XMLFlagsArgs) -> remote_object.StoragePoolRet:
        no_flags(args.flags, "storagePoolDefineXML", 1)  # VALIDATE: what the table does not have is refused anyway
        return remote_object.StoragePoolRet(on_wire(await self._pools.define(args.xml)))

    async def create_xml(self, session: Session, args: shapes.XMLFlagsArgs) -> remote_object.StoragePoolRet:
        no_flags(args.flags, "storagePoolCreateXML")
        return remote_object.StoragePoolRet(on_wire(await self._pools.create(args.xml)))

    async def create(self, session: Session, args: remote_storage.PoolFlagsArgs) -> Void:
        no_flags(args.flags, "storagePoolCreate")
        await self._pools.start(self._pool(args.pool))
        return Void()

    async def build(self, session: Session, args: remote_storage.PoolFlagsArgs) -> Void:
        no_flags(args.flags, "storagePoolBuild")
        await self._pools.build(self._pool(args.pool))
        return Void()

    async def destroy(self, session: Session, args: remote_storage.PoolArgs) -> Void:
        await self._pools.stop(self._pool(args.pool))
        return Void()

    async def undefine(self, session: Session, args: remote_storage.PoolArgs) -> Void:
        await self._pools.undefine(self._pool(args.pool))
        return Void()

    async def refresh(self, session: Session, args: remote_storage.PoolFlagsArgs) -> Void:
        no_flags(args.flags, "storagePoolRefresh")
        pools.require_active(self._pool(args.pool))  # the folder is read anew for every question
        return Void()

    async def info(self, session: Session, args: remote_storage.PoolArgs) -> remote_storage.PoolInfoRet:
        pool = self._pool(args.pool)
        whole, free = await asyncio.to_thread(pools.space, pool)
        return remote_storage.PoolInfoRet(RUNNING if pool.active else INACTIVE, whole, whole - free, free)

    async def xml(self, session: Session, args: remote_storage.PoolFlagsArgs) -> shapes.XMLRet:
        no_flags(args.flags, "storagePoolGetXMLDesc", XML_INACTIVE)
        inactive = bool(args.flags & XML_INACTIVE)
        return shapes.XMLRet(await asyncio.to_thread(pools.describe, self._pool(args.pool), inactive=inactive))

    async def get_autostart(self, session: Session, args: remote_storage.PoolArgs) -> remote_domain.AutostartRet:
        return remote_domain.AutostartRet(int(self._pool(args.pool).autostart))

    async def set_autostart(self, session: Session, args: remote_storage.PoolSetAutostartArgs) -> Void:
        await self._pools.set_autostart(self._pool(args.pool), bool(args.autostart))
        return Void()

    async def is_active(self, session: Session, args: remote_storage.PoolArgs) -> remote_domain.ActiveRet:
        return remote_domain.ActiveRet(int(self._pool(args.pool).active))

    async def is_persistent(self, session: Session, args: remote_storage.PoolArgs) -> remote_domain.PersistentRet:
        return remote_domain.PersistentRet(int(self._pool(args.pool).persistent))

    async def capabilities(self, session: Session, args: shapes.FlagsArgs) -> shapes.CapabilitiesRet:
        no_flags(args.flags, "storageConnectGetCapabilities")
        return shapes.CapabilitiesRet(pool_xml.capabilities())

    async def find_sources(self, session: Session, args: remote_storage.FindPoolSourcesArgs) -> shapes.XMLRet:
        no_flags(args.flags, "storageConnectFindStoragePoolSources")
        if args.type not in pool_xml.TYPES:
            raise errors.InternalError(f"unknown storage pool type {args.type}")
        raise errors.NoSupport(f"pool type '{args.type}' does not support source discovery")

    # volumes

    async def count_volumes(self, session: Session, args: remote_storage.PoolArgs) -> shapes.NumRet:
        return shapes.NumRet(len(await self._pools.volumes(self._pool(args.pool))))

    async def list_volumes(self, session: Session, args: remote_storage.PoolMaxNamesArgs) -> remote_list.NamesRet:
        found = await self._pools.volumes(self._pool(args.pool))
        return remote_list.NamesRet([volume.name for volume in found][: max(args.maxnames, 0)])

    async def list_all_volumes(
        self, session: Session, args: remote_storage.PoolListAllArgs
    ) -> remote_storage.VolsRet:
        no_flags(args.flags, "storagePoolListAllVolumes")
        found = (await self._pools.volumes(self._pool(args.pool)))[: types.DOMAIN_LIST_MAX]
        return remote_storage.VolsRet([volume_on_wire(one) for one in found] if args.need_results else [], len(found))

    async def volume_by_name(
        self, session: Session, args: remote_storage.PoolNameArgs
    ) -> remote_object.StorageVolRet:
        return remote_object.StorageVolRet(volume_on_wire(await self._pools.volume(self._pool(args.pool), args.name)))

    async def volume_by_path(self, session: Session, args: remote_list.NameArgs) -> remote_object.StorageVolRet:
        return remote_object.StorageVolRet(volume_on_wire(await self._pools.volume_by_path(args.name)))

    async def _found(self, vol: remote_object.StorageVol) -> Volume:
        return await self._pools.volume(self._pools.by_name(vol.pool), vol.name)

    async def volume_info(self, session: Session, args: remote_storage.VolArgs) -> remote_storage.VolInfoRet:
        sizes = (await self._found(args.vol)).sizes
        return remote_storage.VolInfoRet(FILE, sizes.capacity, sizes.allocation)

    async def volume_info_flags(
        self, session: Session, args: remote_storage.VolFlagsArgs
    ) -> remote_storage.VolInfoRet:
        no_flags(args.flags, "storageVolGetInfoFlags", PHYSICAL)
        sizes = (await self._found(args.vol)).sizes
        return remote_storage.VolInfoRet(FILE, sizes.capacity, sizes.physical if args.flags else sizes.allocation)

    async def volume_xml(self, session: Session, args: remote_storage.VolFlagsArgs) -> shapes.XMLRet:
        no_flags(args.flags, "storageVolGetXMLDesc")
        return shapes.XMLRet(await asyncio.to_thread(volumes.describe, await self._found(args.vol)))

    async def volume_path(self, session: Session, args: remote_storage.VolArgs) -> remote_storage.VolPathRet:
        return remote_storage.VolPathRet((await self._found(args.vol)).path)


def on_wire(pool: Pool) -> types.StoragePool:
    """``pool`` as it travels."""
    return types.StoragePool(pool.name, pool.uuid.bytes)


def volume_on_wire(volume: Volume) -> remote_object.StorageVol:
    return remote_object.StorageVol(volume.pool, volume.name, volume.path)


def _matches(pool: Pool, flags: int) -> bool:
    """Whether the filter lets ``pool`` through: of each pair one must fit, if one is given."""
    for no, yes, truth in (
        (LIST_INACTIVE, LIST_ACTIVE, pool.active),
        (LIST_TRANSIENT, LIST_PERSISTENT, pool.persistent),
        (LIST_NO_AUTOSTART, LIST_AUTOSTART, pool.autostart),
    ):
        if flags & (no | yes) and not flags & (yes if truth else no):
            return False
    kinds = flags & ~(LIST_DIR - 1)
    return not kinds or bool(kinds & LIST_DIR)
