"""An independent decoder: the public ``sparkplug_b.proto``, declared here for the ``protobuf`` package of Google.

Source: Eclipse Sparkplug 3.0.0, section 6.4.1. What is not used by an edge node (templates, data sets) is left out.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_TYPES = {
    "uint32": descriptor_pb2.FieldDescriptorProto.TYPE_UINT32,
    "uint64": descriptor_pb2.FieldDescriptorProto.TYPE_UINT64,
    "float": descriptor_pb2.FieldDescriptorProto.TYPE_FLOAT,
    "double": descriptor_pb2.FieldDescriptorProto.TYPE_DOUBLE,
    "bool": descriptor_pb2.FieldDescriptorProto.TYPE_BOOL,
    "string": descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
    "bytes": descriptor_pb2.FieldDescriptorProto.TYPE_BYTES,
}

_PROTO = {
    "Payload": """
        optional uint64 timestamp 1
        repeated Metric metrics 2
        optional uint64 seq 3
        optional string uuid 4
        optional bytes body 5
    """,
    "PropertyValue": """
        optional uint32 type 1
        optional bool is_null 2
        oneof uint32 int_value 3
        oneof uint64 long_value 4
        oneof float float_value 5
        oneof double double_value 6
        oneof bool boolean_value 7
        oneof string string_value 8
    """,
    "PropertySet": """
        repeated string keys 1
        repeated PropertyValue values 2
    """,
    "Metric": """
        optional string name 1
        optional uint64 alias 2
        optional uint64 timestamp 3
        optional uint32 datatype 4
        optional bool is_historical 5
        optional bool is_transient 6
        optional bool is_null 7
        optional PropertySet properties 9
        oneof uint32 int_value 10
        oneof uint64 long_value 11
        oneof float float_value 12
        oneof double double_value 13
        oneof bool boolean_value 14
        oneof string string_value 15
        oneof bytes bytes_value 16
    """,
}


def _pool() -> descriptor_pool.DescriptorPool:
    file = descriptor_pb2.FileDescriptorProto(name="sparkplug_b.proto", package="spb", syntax="proto2")
    for name, text in _PROTO.items():
        message = file.message_type.add(name=name)
        for line in text.split("\n"):
            if not line.strip():
                continue
            label, kind, field, number = line.split()
            added = message.field.add(name=field, number=int(number))
            added.label = added.LABEL_REPEATED if label == "repeated" else added.LABEL_OPTIONAL
            if kind in _TYPES:
                added.type = _TYPES[kind]
            else:
                added.type = added.TYPE_MESSAGE
                added.type_name = f".spb.{kind}"
            if label == "oneof":
                if not message.oneof_decl:
                    message.oneof_decl.add(name="value")
                added.oneof_index = 0
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


Payload: Any = message_factory.GetMessageClass(_pool().FindMessageTypeByName("spb.Payload"))


def parse(payload: bytes) -> Any:
    """The payload; a field that the declaration does not know fails the test."""
    found = Payload.FromString(payload)
    assert found.SerializeToString() == Payload.FromString(found.SerializeToString()).SerializeToString()
    assert found.IsInitialized()
    return found


def value_of(metric: Any) -> Any:
    """The value in whatever field it lies, as (field, value); None when the metric says that it is null."""
    field = metric.WhichOneof("value")
    assert metric.is_null == (field is None), "null, or a value, and not both"
    return None if field is None else (field, getattr(metric, field))


def properties_of(metric: Any) -> dict[str, Any]:
    """Properties by key."""
    keys, values = metric.properties.keys, metric.properties.values
    assert len(keys) == len(values)
    return {key: getattr(value, value.WhichOneof("value")) for key, value in zip(keys, values, strict=True)}


def command(name: str | None, value: Any, field: str, alias: int | None = None, time: int = 1) -> bytes:
    """A command payload as a host writes it."""
    payload = Payload(timestamp=time)
    metric = payload.metrics.add(timestamp=time)
    if name is not None:
        metric.name = name
    if alias is not None:
        metric.alias = alias
    setattr(metric, field, value)
    made: bytes = payload.SerializeToString()
    return made
