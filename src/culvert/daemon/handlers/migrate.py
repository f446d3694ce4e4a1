"""The five steps of migration protocol version 3, with typed parameters and with fixed arguments.

Both forms come down to the same ``Options``; what they mean is in ``culvert.migration``.
"""

from __future__ import annotations

from dataclasses import replace

from culvert.channels.ticket import WITHOUT_POSTCOPY
from culvert.daemon import reach
from culvert.daemon.service import Service, on_wire
from culvert.ground import errors
from culvert.migration.options import parameters
from culvert.migration.options.parameters import Options
from culvert.migration.peers import cookies
from culvert.protocol import remote_migrate, shapes, types
from culvert.protocol.constants_migrate import MigrateFlag
from culvert.rpc.answer import StreamBody
from culvert.rpc.dispatch import Handlers
from culvert.rpc.session import Session
from culvert.xdr.struct import Void


class MigrateHandlers:
    """Handlers of the migration group."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def register(self, handlers: Handlers) -> None:
        """The procedures served here."""
        handlers.add(remote_migrate.DOMAIN_MIGRATE_BEGIN3_PARAMS, self.begin3_params)
        handlers.add(remote_migrate.DOMAIN_MIGRATE_PREPARE3_PARAMS, self.prepare3_params)
        handlers.add_stream(remote_migrate.DOMAIN_MIGRATE_PREPARE_TUNNEL3_PARAMS, self.prepare_tunnel3_params)
        handlers.add(remote_migrate.DOMAIN_MIGRATE_PERFORM3_PARAMS, self.perform3_params)
        handlers.add(remote_migrate.DOMAIN_MIGRATE_FINISH3_PARAMS, self.finish3_params)
        handlers.add(remote_migrate.DOMAIN_MIGRATE_CONFIRM3_PARAMS, self.confirm3_params)
        handlers.add(remote_migrate.DOMAIN_MIGRATE_BEGIN3, self.begin3)
        handlers.add(remote_migrate.DOMAIN_MIGRATE_PREPARE3, self.prepare3)
        handlers.add_stream(remote_migrate.DOMAIN_MIGRATE_PREPARE_TUNNEL3, self.prepare_tunnel3)
        handlers.add(remote_migrate.DOMAIN_MIGRATE_PERFORM3, self.perform3)
        handlers.add(remote_migrate.DOMAIN_MIGRATE_FINISH3, self.finish3)
        handlers.add(remote_migrate.DOMAIN_MIGRATE_CONFIRM3, self.confirm3)

    # -- typed parameters -----------------------------------------------------------------------------------------

    async def begin3_params(self, session: Session, args: remote_migrate.Begin3ParamsArgs) -> shapes.CookieXMLRet:
        options = parameters.from_typed(args.params, args.flags)
        return await self._begin(session, args.dom, options)

    async def prepare3_params(self, session: Session, args: remote_migrate.Prepare3ParamsArgs) -> shapes.CookieURIRet:
        return await self._prepare(session, parameters.from_typed(args.params, args.flags), args.cookie_in)

    async def prepare_tunnel3_params(
        self, session: Session, args: remote_migrate.Prepare3ParamsArgs
    ) -> tuple[shapes.CookieRet, StreamBody]:
        return await self._prepare_tunnel(session, parameters.from_typed(args.params, args.flags), args.cookie_in)

    async def perform3_params(self, session: Session, args: remote_migrate.Perform3ParamsArgs) -> shapes.CookieRet:
        options = parameters.from_typed(args.params, args.flags)
        return await self._perform(args.dom, options, args.dconnuri, args.cookie_in)

    async def finish3_params(
        self, session: Session, args: remote_migrate.Finish3ParamsArgs
    ) -> shapes.DomainCookieRet:
        options = parameters.from_typed(args.params, args.flags)
        if not options.destination_name:
            raise errors.InvalidArgument("finish of a migration needs parameter 'destination_name'")
        return await self._finish(
            session, options.destination_name, options, args.cookie_in, cancelled=bool(args.cancelled)
        )

    async def confirm3_params(self, session: Session, args: remote_migrate.Confirm3ParamsArgs) -> Void:
        parameters.from_typed(args.params, args.flags)
        return await self._confirm(args.dom, args.cookie_in, cancelled=bool(args.cancelled))

    # -- fixed arguments ------------------------------------------------------------------------------------------

    async def begin3(self, session: Session, args: remote_migrate.Begin3Args) -> shapes.CookieXMLRet:
        options = _options(args.flags, args.dname, args.resource, xml=args.xmlin)
        return await self._begin(session, args.dom, options)

    async def prepare3(self, session: Session, args: remote_migrate.Prepare3Args) -> shapes.CookieURIRet:
        options = _options(args.flags, args.dname, args.resource, xml=args.dom_xml, uri=args.uri_in)
        return await self._prepare(session, options, args.cookie_in)

    async def prepare_tunnel3(
        self, session: Session, args: remote_migrate.PrepareTunnel3Args
    ) -> tuple[shapes.CookieRet, StreamBody]:
        options = _options(args.flags, args.dname, args.resource, xml=args.dom_xml)
        return await self._prepare_tunnel(session, options, args.cookie_in)

    async def perform3(self, session: Session, args: remote_migrate.Perform3Args) -> shapes.CookieRet:
        options = _options(args.flags, args.dname, args.resource, xml=args.xmlin, uri=args.uri)
        return await self._perform(args.dom, options, args.dconnuri, args.cookie_in)

    async def finish3(self, session: Session, args: remote_migrate.Finish3Args) -> shapes.DomainCookieRet:
        options = _options(args.flags, args.dname, 0)
        return await self._finish(session, args.dname, options, args.cookie_in, cancelled=bool(args.cancelled))

    async def confirm3(self, session: Session, args: remote_migrate.Confirm3Args) -> Void:
        parameters.check_flags(args.flags)
        return await self._confirm(args.dom, args.cookie_in, cancelled=bool(args.cancelled))

    # -- the steps ------------------------------------------------------------------------------------------------

    async def _begin(self, session: Session, dom: types.Domain, options: Options) -> shapes.CookieXMLRet:
        return shapes.CookieXMLRet(*await self._service.source.begin(self._service.domain(dom), options, session))

    async def _prepare(self, session: Session, options: Options, cookie_in: bytes) -> shapes.CookieURIRet:
        if options.has(MigrateFlag.TUNNELLED):
            raise errors.InternalError("Tunnelled migration requested but invalid RPC method called")
        theirs = await cookies.parse(cookie_in)
        if not options.has(MigrateFlag.OFFLINE) and not theirs.attempt:
            uri = reach.bare(self._service, session, options)
            cookie_out, _ = await self._service.destination.prepare(options, cookie_in, session)
            return shapes.CookieURIRet(cookie_out, uri)
        # Peer-to-peer the source has a way already, and offline there is nothing to send.
        has_way = options.has(MigrateFlag.OFFLINE) or (options.has(MigrateFlag.PEER2PEER) and not options.migrate_uri)
        source = "" if has_way else theirs.hostname
        where = reach.address(self._service, session, options.migrate_uri, source=source)
        cookie_out, intake = await self._service.destination.prepare(options, cookie_in, session)
        # Nothing is sent for an offline migration, but a client wants a URI in every answer.
        way_in = reach.for_ticket(where, str(intake.gate.ticket) if intake else "")
        if intake is not None and intake.without_postcopy:
            way_in = way_in.with_parameters(**{WITHOUT_POSTCOPY: intake.without_postcopy})
        return shapes.CookieURIRet(cookie_out, str(way_in))

    async def _prepare_tunnel(
        self, session: Session, options: Options, cookie_in: bytes
    ) -> tuple[shapes.CookieRet, StreamBody]:
        if not options.has(MigrateFlag.TUNNELLED):
            raise errors.InternalError("PrepareTunnel called but no TUNNELLED flag set")
        cookie_out, intake = await self._service.destination.prepare(options, cookie_in, session)
        assert intake is not None, "an offline migration cannot be tunnelled, as was checked"
        return shapes.CookieRet(cookie_out), intake.carry

    async def _perform(
        self, dom: types.Domain, options: Options, dconnuri: str | None, cookie_in: bytes
    ) -> shapes.CookieRet:
        domain = self._service.domain(dom)
        if not options.has(MigrateFlag.PEER2PEER):
            return shapes.CookieRet(await self._service.source.perform(domain, options, cookie_in))
        if not dconnuri:
            raise errors.InvalidArgument("peer-to-peer migration needs the destination's connection URI")
        await self._service.source.migrate(domain, dconnuri, options)
        return shapes.CookieRet(b"")

    async def _finish(
        self, session: Session, name: str, options: Options, cookie_in: bytes, *, cancelled: bool
    ) -> shapes.DomainCookieRet:
        domain, cookie_out = await self._service.destination.finish(
            name, options, cookie_in, session, cancelled=cancelled
        )
        return shapes.DomainCookieRet(on_wire(domain), cookie_out)

    async def _confirm(self, dom: types.Domain, cookie_in: bytes, *, cancelled: bool) -> Void:
        await self._service.source.confirm(self._service.domain(dom), cookie_in, cancelled=cancelled)
        return Void()


def _options(
    flags: int, dname: str | None, resource: int, *, xml: str | None = None, uri: str | None = None
) -> Options:
    """The fixed arguments as options: ``resource`` is the bandwidth in MiB/s."""
    return replace(
        Options(flags=parameters.check_flags(flags)),
        destination_name=dname,
        destination_xml=xml,
        migrate_uri=uri,
        bandwidth=resource,
    )
