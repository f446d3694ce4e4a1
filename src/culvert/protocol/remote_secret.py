"""REMOTE procedures about secrets.

Source of every row: src/remote/remote_protocol.x of libvirt 9.0, ``REMOTE_PROC_`` and the row's name.
"""

from __future__ import annotations

from typing import Annotated

from culvert.protocol.procedure import Procedure
from culvert.protocol.remote_object import Secret, SecretRet
from culvert.protocol.shapes import XMLFlagsArgs, XMLRet
from culvert.protocol.types import UInt, struct
from culvert.xdr import codec
from culvert.xdr.struct import Void

VALUE_MAX = 65536  # REMOTE_SECRET_VALUE_MAX


@struct
class SecretArgs:
    secret: Secret


@struct
class SecretFlagsArgs:
    secret: Secret
    flags: UInt


@struct
class SecretSetValueArgs:
    secret: Secret
    value: Annotated[bytes, codec.Opaque(VALUE_MAX)]
    flags: UInt


@struct
class SecretValueRet:
    value: Annotated[bytes, codec.Opaque(VALUE_MAX)]


SECRET_DEFINE_XML = Procedure(142, "SECRET_DEFINE_XML", XMLFlagsArgs, SecretRet, acl="secret:write secret:save")
SECRET_GET_XML_DESC = Procedure(
    143, "SECRET_GET_XML_DESC", SecretFlagsArgs, XMLRet, acl="secret:read", read_only=True
)
SECRET_SET_VALUE = Procedure(144, "SECRET_SET_VALUE", SecretSetValueArgs, Void, acl="secret:write")
SECRET_GET_VALUE = Procedure(145, "SECRET_GET_VALUE", SecretFlagsArgs, SecretValueRet, acl="secret:read_secure")
SECRET_UNDEFINE = Procedure(146, "SECRET_UNDEFINE", SecretArgs, Void, acl="secret:delete")
